#!/usr/bin/env bash
# Makes what nobody should keep in a repository: the endpoint's certificate, tokens, and the URLs with their passwords. What is there
# already stays. Runs as root in a container of its own; `compose.yaml` mounts the two folders into those who read them.
#
#   secrets.sh TAILRACE_FOLDER PROMETHEUS_FOLDER
set -euo pipefail
umask 077
tailrace=${1:?the folder of secrets of Tailrace} prometheus=${2:?the folder of secrets of Prometheus}
# Who runs in the images of Tailrace and of Prometheus.
TAILRACE_USER=${TAILRACE_USER:-65532}
PROMETHEUS_USER=${PROMETHEUS_USER:-65534}

if [[ ! -f $tailrace/tls.pem ]]; then
  openssl req -x509 -newkey rsa:3072 -nodes -days 365 -subj '/CN=tailrace' -addext 'subjectAltName=DNS:tailrace,DNS:localhost,IP:127.0.0.1' \
    -keyout "$tailrace/tls.key" -out "$tailrace/tls.pem" 2>/dev/null
fi
for name in console prometheus; do
  [[ -f $tailrace/$name.token ]] || openssl rand -hex 32 >"$tailrace/$name.token"
done
[[ -f $tailrace/email_salt ]] || openssl rand -hex 16 >"$tailrace/email_salt"
# The passwords that shop.sql and reporting.sql give. Without a newline at the end: it would be part of the URL.
printf 'postgres://tailrace:tailrace@postgres:5432/shop' >"$tailrace/shop_url"
printf 'mysql://tailrace:tailrace@mysql:3306/reporting' >"$tailrace/reporting_url"

# To scrape, Prometheus needs a token and whose certificate is believed, and nothing else.
cp "$tailrace/prometheus.token" "$tailrace/tls.pem" "$prometheus/"
chown "$PROMETHEUS_USER" "$prometheus" "$prometheus"/*
chown "$TAILRACE_USER" "$tailrace" "$tailrace"/*
