//! Letting a site go dark: what is sent to its addresses is dropped, not refused.
//!
//! As root it is done by an nftables table of the lab's own, which is there for as long as the lab is and holds the
//! networks that are dark. Elsewhere the site's addresses are taken over by sockets that accept nothing: a
//! connection hangs there, too, but those that were open see the end of their peer. Whoever measures must say
//! which it was.
//!
//! Always true here: only tables named after labs are touched, and of those only our own and the orphaned.

use std::{net::SocketAddr, process::Stdio};

use cloud::local::lab_number;
use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpSocket},
    process::Command,
};

const TABLE_PREFIX: &str = "ghostlight_lab_";

/// How a site is made silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Its packets are dropped by the kernel.
    Nft,
    /// Its addresses are held by sockets that never answer.
    SilentSockets,
}

/// The means to let networks of this lab go dark.
#[derive(Debug)]
pub struct Blackout {
    table: String,
    how: How,
    /// Why it is not nftables, for people.
    why_not_nft: Option<String>,
}

impl Blackout {
    /// Finds out what is possible here and prepares it. What an earlier lab of this number left is removed.
    pub async fn prepare(lab_number: u8) -> Blackout {
        let table = table_of(lab_number);
        let mut blackout = Blackout { table, how: How::Nft, why_not_nft: None };
        if let Err(why) = blackout.make_table().await {
            blackout.how = How::SilentSockets;
            blackout.why_not_nft = Some(why);
        }
        blackout
    }

    /// What is possible here.
    pub fn how(&self) -> How {
        self.how
    }

    /// Why packets cannot be dropped here, if so.
    pub fn why_not_nft(&self) -> Option<&str> {
        self.why_not_nft.as_deref()
    }

    async fn make_table(&self) -> Result<(), String> {
        if !rustix::process::geteuid().is_root() {
            return Err("dropping packets needs root".into());
        }
        remove_orphans().await;
        let table = &self.table;
        // Declaring the table first makes its removal succeed whether it was there or not. Only arriving packets
        // are dropped: dropping them on their way out would tell the sender.
        nft(&format!(
            "table ip {table} {{ }}\n\
             delete table ip {table}\n\
             table ip {table} {{\n\
             set dark {{ type ipv4_addr; flags interval; }}\n\
             chain arriving {{\n\
             type filter hook input priority -300; policy accept;\n\
             ip saddr @dark drop\n\
             ip daddr @dark drop\n\
             }}\n\
             }}\n"
        ))
        .await
    }

    /// Drops every packet from and to `network` from now on. With silent sockets it does nothing: they come after
    /// the processes are dead.
    pub async fn darken(&self, network: &str) -> Result<(), String> {
        match self.how {
            How::Nft => nft(&format!("add element ip {} dark {{ {network} }}\n", self.table)).await,
            How::SilentSockets => Ok(()),
        }
    }

    /// Lets packets pass again.
    pub async fn lighten(&self, network: &str) -> Result<(), String> {
        match self.how {
            How::Nft => nft(&format!("delete element ip {} dark {{ {network} }}\n", self.table)).await,
            How::SilentSockets => Ok(()),
        }
    }

    /// Removes the table.
    pub async fn remove(&self) {
        if self.how == How::Nft
            && let Err(e) = nft(&format!("delete table ip {}\n", self.table)).await
        {
            tracing::warn!("the table {} is left behind: {e}", self.table);
        }
    }
}

/// Sockets that hold addresses and never answer. Dropping them frees the addresses.
#[derive(Debug, Default)]
pub struct SilentSockets(
    #[allow(dead_code, reason = "held so that the addresses stay taken")] Vec<TcpListener>,
);

impl SilentSockets {
    /// Takes over `addresses`, whose processes must be dead. An address that cannot be had is told in the log.
    pub fn take(addresses: impl IntoIterator<Item = SocketAddr>) -> SilentSockets {
        let held = addresses.into_iter().filter_map(|address| match silent(address) {
            Ok(listener) => Some(listener),
            Err(e) => {
                tracing::warn!("{address} cannot be held silent: {e}");
                None
            }
        });
        SilentSockets(held.collect())
    }
}

fn silent(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    // The kernel completes one handshake and then lets further ones hang.
    socket.listen(1)
}

fn table_of(lab_number: u8) -> String {
    format!("{TABLE_PREFIX}{lab_number}")
}

/// Removes the tables of labs that were killed before they could do it themselves: those whose number is free.
async fn remove_orphans() {
    let Ok(output) = Command::new(program()).args(["list", "tables", "ip"]).output().await else { return };
    for number in numbers(&String::from_utf8_lossy(&output.stdout)) {
        // Claimed for a moment, so that no lab begins to use the table that is removed.
        let Ok(_claimed) = lab_number::claim_exactly(number) else { continue };
        if let Err(e) = nft(&format!("delete table ip {}\n", table_of(number))).await {
            tracing::debug!("the table of lab {number} stays: {e}");
        }
    }
}

/// The numbers of the labs whose tables are in the output of `nft list tables ip`.
fn numbers(listed: &str) -> Vec<u8> {
    let names = listed.lines().filter_map(|line| line.trim().strip_prefix("table ip "));
    names.filter_map(|name| name.strip_prefix(TABLE_PREFIX)?.parse().ok()).collect()
}

async fn nft(script: &str) -> Result<(), String> {
    let mut command = Command::new(program());
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().map_err(|e| format!("nft cannot be run: {e}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(script.as_bytes()).await.map_err(|e| format!("nft does not read its rules: {e}"))?;
    }
    let output = child.wait_with_output().await.map_err(|e| format!("nft: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("nft: {}", said.lines().next().unwrap_or("it failed and did not say why")))
}

/// `nft` lives in `/usr/sbin`, which is not in every `PATH`.
fn program() -> &'static str {
    ["/usr/sbin/nft", "/sbin/nft"].into_iter().find(|p| std::path::Path::new(p).is_file()).unwrap_or("nft")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tables_of_labs_are_ours() {
        let listed = "table ip filter\ntable ip ghostlight_lab_7\ntable ip ghostlight_lab_7_old\ntable ip ghostlight_lab_250\n";
        assert_eq!(numbers(listed), [7, 250]);
    }
}
