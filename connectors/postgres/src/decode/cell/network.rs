//! `inet`, `cidr` and hardware addresses.
//!
//! The binary form is read here and not a cast to text, because `inet::text` prints `10.0.0.1/32` where the log prints
//! `10.0.0.1`.
//!
//! Binary: family u8 (2: IPv4, 3: IPv6) · mask bits u8 · is cidr u8 · length u8 · address.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tailrace_core::batch::ChangeBatch;

use super::{Result, ValueError, fixed, written};

const FAMILY_IPV4: u8 = 2;
const FAMILY_IPV6: u8 = 3;

/// An address with its mask, checked.
#[derive(Debug, Clone, Copy)]
struct Network {
    address: IpAddr,
    /// Bits of the mask, where they are shown.
    shown_bits: Option<u8>,
}

pub(super) fn push_address_binary(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let network = Network::parse(bytes)?;
    let mut printed = Ok(());
    batch.push_text_with(|text| printed = network.print(text))?;
    printed
}

pub(super) fn print_address(bytes: &[u8], text: &mut String) -> Result<()> {
    Network::parse(bytes)?.print(text)
}

/// Six or eight bytes, `08:00:2b:01:02:03`.
pub(super) fn push_hardware_address_binary(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let bytes = hardware_address(bytes)?;
    let mut printed = Ok(());
    batch.push_text_with(|text| printed = print_octets(bytes, text))?;
    printed
}

pub(super) fn print_hardware_address(bytes: &[u8], text: &mut String) -> Result<()> {
    print_octets(hardware_address(bytes)?, text)
}

// === impl Network ===

impl Network {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let malformed = ValueError::Malformed("inet or cidr");
        let [family, bits, is_cidr, length, address @ ..] = bytes else {
            return Err(malformed);
        };
        let (address, all_bits) = match (*family, *length) {
            (FAMILY_IPV4, 4) => (IpAddr::from(fixed::<4>(address, "inet or cidr")?), 32),
            (FAMILY_IPV6, 16) => (IpAddr::from(fixed::<16>(address, "inet or cidr")?), 128),
            _ => return Err(malformed),
        };
        let shown_bits = match *bits {
            bits if bits > all_bits => return Err(malformed),
            bits if bits == all_bits && *is_cidr == 0 => None,
            bits => Some(bits),
        };
        Ok(Self { address, shown_bits })
    }

    fn print(self, text: &mut String) -> Result<()> {
        match self.address {
            IpAddr::V4(address) => written(write!(text, "{address}"))?,
            IpAddr::V6(address) => print_ipv6(address, text)?,
        }
        match self.shown_bits {
            Some(bits) => written(write!(text, "/{bits}")),
            None => Ok(()),
        }
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

fn hardware_address(bytes: &[u8]) -> Result<&[u8]> {
    if matches!(bytes.len(), 6 | 8) {
        Ok(bytes)
    } else {
        Err(ValueError::Malformed("macaddr"))
    }
}

fn print_octets(octets: &[u8], text: &mut String) -> Result<()> {
    for (at, octet) in octets.iter().enumerate() {
        let colon = if at > 0 { ":" } else { "" };
        written(write!(text, "{colon}{octet:02x}"))?;
    }
    Ok(())
}
