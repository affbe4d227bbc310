//! Asks for a name of a group again and again, and tells what it leads to.

use std::{sync::Arc, time::Duration};

use model::topology::edge::DnsTargets;
use runtime::dns;
use tokio::{sync::mpsc, time::sleep};

use super::health::Event;

/// However short its answer's time to live is, and after no answer.
const AGAIN_AFTER_MIN: Duration = Duration::from_secs(1);
/// However long it is: an instance that is gone should not be checked in vain for hours.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(60);

/// Ends when nobody listens any more.
pub(super) async fn keep_asking(group: Arc<str>, from: DnsTargets, tell: mpsc::Sender<Event>) {
    let mut is_told = false;
    loop {
        let (again, trouble) = match ask(&from).await {
            Ok(answer) if answer.addresses.is_empty() => {
                (AGAIN_AFTER_MIN, Some("it has no address".to_owned()))
            }
            Ok(dns::Answer { addresses, ttl_s }) => {
                let found = Event::Found { group: group.clone(), from: from.clone(), addresses };
                if tell.send(found).await.is_err() {
                    return;
                }
                (Duration::from_secs(ttl_s.into()).clamp(AGAIN_AFTER_MIN, AGAIN_AFTER_MAX), None)
            }
            Err(why) => (AGAIN_AFTER_MIN, Some(why)),
        };
        match &trouble {
            // Once, not every second.
            Some(why) if !is_told => {
                tracing::warn!(%group, name = from.name, "targets by name: {why}; those of before stay");
            }
            None if is_told => tracing::info!(%group, name = from.name, "targets by name: found again"),
            _ => {}
        }
        is_told = trouble.is_some();
        sleep(again).await;
    }
}

async fn ask(from: &DnsTargets) -> Result<dns::Answer, String> {
    let server = from.server.or_else(dns::system_server);
    let server = server.ok_or("/etc/resolv.conf names no name server; write `server = \"…\"`")?;
    dns::ask(server, &from.name).await.map_err(|e| e.to_string())
}
