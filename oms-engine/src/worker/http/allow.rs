//! Where a definition may call: hosts by name, and addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What may be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Allowed {
    hosts: Vec<Host>,
    networks: Vec<Network>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Host {
    /// In small letters; with `wildcard` what names end with, from the dot on.
    name: String,
    wildcard: bool,
    port: Port,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    /// That of the scheme.
    Default,
    One(u16),
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    /// Leading bits that are the same.
    bits: u8,
    port: Port,
}

impl Allowed {
    /// Reads one entry.
    pub(super) fn add(&mut self, entry: &str) -> Result<(), String> {
        let fault = |why: &str| format!("{entry:?} {why}");
        if entry.contains("://") || entry.contains('@') || entry.contains(char::is_whitespace) {
            return Err(fault(
                "is no host: write a name or an address, and a port where it matters",
            ));
        }
        let (host, port) =
            split_port(entry).ok_or_else(|| fault("has no port that can be read"))?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let (address, bits) = match bare.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (bare, None),
        };
        if let Ok(address) = address.parse::<IpAddr>() {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = match bits.map(str::parse::<u8>) {
                None => most,
                Some(Ok(bits)) if bits <= most => bits,
                Some(_) => {
                    return Err(fault("is no network: write an address and its leading bits"));
                }
            };
            self.networks.push(Network { address, bits, port });
            return Ok(());
        }
        let (name, wildcard) = match host.strip_prefix('*') {
            Some(suffix) if suffix.starts_with('.') => (suffix, true),
            Some(_) => return Err(fault("is too wide: write *.example.org")),
            None => (host, false),
        };
        let is_part = |part: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            !part.is_empty() && part.chars().all(known)
        };
        if !name.strip_prefix('.').unwrap_or(name).split('.').all(is_part) {
            return Err(fault("is no name of a host; one that is not ASCII is written as xn--…"));
        }
        self.hosts.push(Host { name: name.to_lowercase(), wildcard, port });
        Ok(())
    }

    /// Whether this host may be called, before its address is known.
    pub(super) fn host(&self, host: &str, port: u16, default: bool) -> bool {
        if let Some(address) = literal(host) {
            return self.names(address, port, default);
        }
        let host = host.strip_suffix('.').unwrap_or(host).to_lowercase();
        self.hosts.iter().any(|allowed| {
            let same = if allowed.wildcard {
                host.strip_suffix(&allowed.name).is_some_and(|sub| !sub.is_empty())
            } else {
                host == allowed.name
            };
            same && allowed.port.is(port, default)
        })
    }

    /// Whether a host that may be called may be called at this address.
    pub(super) fn address(&self, address: IpAddr, port: u16, default: bool) -> bool {
        is_public(address) || self.names(address, port, default)
    }

    fn names(&self, address: IpAddr, port: u16, default: bool) -> bool {
        let same =
            |network: &Network| same_bits(network.address, address.to_canonical(), network.bits);
        self.networks.iter().any(|network| same(network) && network.port.is(port, default))
    }
}

impl Port {
    fn is(self, port: u16, default: bool) -> bool {
        match self {
            Self::Default => default,
            Self::One(one) => one == port,
            Self::Any => true,
        }
    }
}

/// A host that is an address, as it stands in a URI.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

fn split_port(entry: &str) -> Option<(&str, Port)> {
    // An address of version 6 without brackets has no port.
    if entry.matches(':').count() > 1 && !entry.starts_with('[') {
        return Some((entry, Port::Default));
    }
    match entry.rsplit_once(':') {
        Some((host, _)) if host.starts_with('[') && !host.ends_with(']') => {
            Some((entry, Port::Default))
        }
        Some((host, "*")) => Some((host, Port::Any)),
        Some((host, port)) => port.parse().ok().map(|port| (host, Port::One(port))),
        None => Some((entry, Port::Default)),
    }
}

fn same_bits(a: IpAddr, b: IpAddr, bits: u8) -> bool {
    let bits = u32::from(bits);
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (a.to_bits() ^ b.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            (a.to_bits() ^ b.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// Whether an address is one of the internet at large, and not of this machine, a private network
/// or a special purpose.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

const fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(matches!(a, 0 | 10 | 127 | 224..)
        || matches!((a, b), (100, 64..=127) | (169, 254) | (172, 16..=31) | (192, 168))
        || matches!((a, b), (198, 18 | 19))
        || matches!((a, b, c), (192, 0, 0 | 2) | (192, 88, 99) | (198, 51, 100) | (203, 0, 113)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let [.., c, d] = address.segments();
    // An address of version 4 inside one of version 6 counts as what it is.
    let inside = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b) {
        (0x64, 0xff9b) => inside(c, d),
        (0x2002, _) => inside(b, address.segments()[2]),
        (0x2001, 0..=0x01ff | 0x0db8) => false,
        // 2000::/3 is what has been given out.
        (0x2000..=0x3fff, _) => !matches!(a, 0x3fff),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(entries: &[&str]) -> Allowed {
        let mut allowed = Allowed::default();
        for entry in entries {
            allowed.add(entry).expect(entry);
        }
        allowed
    }

    #[test]
    fn a_host_is_named_or_stands_under_a_wildcard_with_its_port() {
        let allowed = allowed(&[
            "api.example.com",
            "*.example.org",
            "a.test:8080",
            "b.test:*",
            "10.1.2.3",
            "[::1]:81",
        ]);
        let table = [
            ("api.example.com", 443, true, true),
            ("API.example.COM.", 443, true, true),
            ("api.example.com", 8443, false, false),
            ("x.api.example.com", 443, true, false),
            ("example.com", 443, true, false),
            ("a.example.org", 80, true, true),
            ("a.b.example.org", 80, true, true),
            ("example.org", 80, true, false),
            (".example.org", 80, true, false),
            ("evilexample.org", 80, true, false),
            ("a.test", 8080, false, true),
            ("a.test", 80, true, false),
            ("b.test", 1234, false, true),
            ("10.1.2.3", 80, true, true),
            ("10.1.2.4", 80, true, false),
            ("[::1]", 81, false, true),
            ("[::1]", 80, true, false),
            ("8.8.8.8", 80, true, false),
        ];
        for (host, port, default, expected) in table {
            assert_eq!(allowed.host(host, port, default), expected, "{host}:{port}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for entry in [
            "*",
            "*example.org",
            "http://a",
            "a b",
            "",
            "a:x",
            "10.0.0.0/40",
            "user@a",
            "ä.de",
            "a..b",
        ] {
            assert!(Allowed::default().add(entry).is_err(), "{entry}");
        }
    }

    #[test]
    fn an_address_that_is_not_public_must_be_named() {
        let named = allowed(&["10.0.0.0/8", "fd00::/8", "127.0.0.1:9000"]);
        let table = [
            ("10.200.1.1", 80, true),
            ("192.168.0.1", 80, false),
            ("fd12::1", 80, true),
            ("fe80::1", 80, false),
            ("127.0.0.1", 9000, true),
            ("127.0.0.1", 80, false),
            ("::ffff:10.0.0.1", 80, true),
            ("::ffff:127.0.0.1", 80, false),
            ("93.184.216.34", 80, true),
        ];
        for (address, port, expected) in table {
            let address = address.parse().expect("an address");
            assert_eq!(named.address(address, port, port == 80), expected, "{address}:{port}");
        }
        let not_public = [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.1.2.3",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "fc00::1",
            "fe80::1",
            "ff02::1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001::1",
            "2001:db8::1",
            "::ffff:192.168.0.1",
        ];
        for address in not_public {
            assert!(!is_public(address.parse().expect("an address")), "{address}");
        }
        for address in ["1.1.1.1", "172.32.0.1", "2606:4700::1111", "64:ff9b::101:101"] {
            assert!(is_public(address.parse().expect("an address")), "{address}");
        }
    }
}
