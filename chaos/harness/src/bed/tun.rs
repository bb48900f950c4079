//! TUN devices: what a machine's kernel sends to its network is read here, and what is written here it receives.

use crate::command::run;
use rustix::fs::{Mode, OFlags, open};
use std::{fs::File, net::Ipv4Addr, process::Command};

/// `TUNSETIFF` (`_IOW('T', 202, int)`) with `IFF_TUN | IFF_NO_PI`: packets as they are, without anything before them. It
/// makes of the open file that Perl is given the one of a device, for whoever else has it open, too. Perl is part of
/// every Debian; from Rust the call would be unsafe.
const ATTACH: &str = r#"
    my $request = pack("Z16 S x22", $ARGV[0], 0x1001);
    ioctl(STDIN, 0x400454ca, $request) or die "TUNSETIFF: $!\n";
"#;
const NAME: &str = "tun0";

/// Longest packet, for all devices.
pub(crate) const PACKET_MAX: usize = 1_500;

/// A device in the namespace of this thread, with this address in a network of 24 bits. It is gone when the file is
/// closed. Reading does not wait.
pub(crate) fn device(address: Ipv4Addr) -> Result<File, String> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(open("/dev/net/tun", flags, Mode::empty()).map_err(|e| format!("/dev/net/tun: {e}"))?);
    let given = file.try_clone().map_err(|e| e.to_string())?;
    run(Command::new("perl").args(["-e", ATTACH, NAME]).stdin(given))?;
    run(Command::new("ip").args(["address", "add", &format!("{address}/24"), "dev", NAME]))?;
    run(Command::new("ip").args(["link", "set", NAME, "mtu", &PACKET_MAX.to_string(), "up"]))?;
    Ok(file)
}
