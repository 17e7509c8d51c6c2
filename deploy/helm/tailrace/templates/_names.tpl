{{- define "tailrace.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "tailrace.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "tailrace.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "tailrace.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "tailrace.selector" -}}
app.kubernetes.io/name: {{ include "tailrace.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tailrace.labels" -}}
{{ include "tailrace.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "tailrace.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "tailrace.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "tailrace.host" -}}
{{- default (printf "%s.%s.svc" (include "tailrace.fullname" .) .Release.Namespace) .Values.endpoint.host }}
{{- end }}

{{- /* The configuration as Tailrace reads it. */}}
{{- define "tailrace.config" -}}
{{- $admin := dict "listen" "127.0.0.1:8083" "probes_listen" "0.0.0.0:8084" }}
{{- if .Values.endpoint.tlsSecret }}
{{- $_ := set $admin "listen" "0.0.0.0:8083" }}
{{- $_ := set $admin "hosts" (concat (list (include "tailrace.host" .)) .Values.endpoint.hosts (list "${POD_IP}")) }}
{{- $_ := set $admin "tls" (dict "certificate_file" "/etc/tailrace/tls/tls.crt" "key_file" "/etc/tailrace/tls/tls.key") }}
{{- $tokens := list }}
{{- range .Values.endpoint.tokens }}
{{- $tokens = append $tokens (dict "name" .name "role" .role "file" (printf "/run/secrets/tailrace/%s" .key)) }}
{{- end }}
{{- $_ := set $admin "tokens" $tokens }}
{{- end }}
{{- $own := dict "version" 1 "admin" $admin "state" (dict "url" "sqlite:///var/lib/tailrace/state.db") }}
{{- toYaml (merge $own .Values.config) }}
{{- end }}
