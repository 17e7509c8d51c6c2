//! `inet`, `cidr` and hardware addresses.
//!
//! The binary form is read here and not a cast to text, because `inet::text` prints `10.0.0.1/32` where the log prints
//! `10.0.0.1`.
//!
//! Binary: family u8 (2: IPv4, 3: IPv6) · mask bits u8 · is cidr u8 · length u8 · address.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use tailrace_core::batch::ChangeBatch;

use super::{Result, ValueError, written};

const FAMILY_IPV4: u8 = 2;
const FAMILY_IPV6: u8 = 3;

pub(super) fn push_address_binary(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let mut result = Ok(());
    batch.push_text_with(|text| result = print_address(bytes, text))?;
    result
}

pub(super) fn push_hardware_address_binary(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let mut result = Ok(());
    batch.push_text_with(|text| result = print_hardware_address(bytes, text))?;
    result
}

pub(super) fn print_address(bytes: &[u8], text: &mut String) -> Result<()> {
    let malformed = ValueError::Malformed("inet or cidr");
    let [family, bits, is_cidr, length, address @ ..] = bytes else {
        return Err(malformed);
    };
    if usize::from(*length) != address.len() {
        return Err(malformed);
    }
    let whole = match *family {
        FAMILY_IPV4 => {
            let address: [u8; 4] = address.try_into().map_err(|_| malformed)?;
            written(write!(text, "{}", Ipv4Addr::from(address)))?;
            32
        }
        FAMILY_IPV6 => {
            let address: [u8; 16] = address.try_into().map_err(|_| malformed)?;
            print_ipv6(Ipv6Addr::from(address), text)?;
            128
        }
        _ => return Err(malformed),
    };
    match *bits {
        bits if bits > whole => Err(malformed),
        bits if bits == whole && *is_cidr == 0 => Ok(()),
        bits => written(write!(text, "/{bits}")),
    }
}

/// As the server prints it, which differs from RFC 5952 only in `::1.2.3.4` for addresses that embed IPv4 without `ffff`.
fn print_ipv6(address: Ipv6Addr, text: &mut String) -> Result<()> {
    if let [0, 0, 0, 0, 0, 0, high, _] = address.segments()
        && high != 0
    {
        let [.., a, b, c, d] = address.octets();
        return written(write!(text, "::{}", Ipv4Addr::new(a, b, c, d)));
    }
    written(write!(text, "{address}"))
}

/// Six or eight bytes, `08:00:2b:01:02:03`.
pub(super) fn print_hardware_address(bytes: &[u8], text: &mut String) -> Result<()> {
    if !matches!(bytes.len(), 6 | 8) {
        return Err(ValueError::Malformed("macaddr"));
    }
    for (at, byte) in bytes.iter().enumerate() {
        let colon = if at > 0 { ":" } else { "" };
        written(write!(text, "{colon}{byte:02x}"))?;
    }
    Ok(())
}
