//! Throw-away clusters of etcd, for tests.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use runtime::{clock::Boot, process};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Child,
    time::{sleep, timeout},
};

use super::{
    etcd::{EtcdError, Member, Place},
    lab_number::LabNumber,
};

const READY_WITHIN: Duration = Duration::from_secs(30);
const READY_POLL: Duration = Duration::from_millis(20);

/// Three members on the addresses of a lab, with new data. Dropping it kills them and removes their data.
#[derive(Debug)]
pub struct ScratchEtcd {
    members: Vec<(Member, Option<Child>)>,
    folder: PathBuf,
}

fn failed(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> EtcdError {
    move |source| EtcdError::Io { what: what.into(), source }
}

impl ScratchEtcd {
    /// Starts three members, on `127.10.<lab>.5`, `127.20.…` and `127.30.…`, and waits until they have a leader.
    pub async fn start(lab: &LabNumber) -> Result<ScratchEtcd, EtcdError> {
        let place = |network: u8| {
            let at = |port| SocketAddr::from((Ipv4Addr::new(127, network, lab.get(), 5), port));
            Place { name: format!("m{network}"), client: at(2379), peer: at(2380) }
        };
        let cluster = [10, 20, 30].map(place);
        let folder = format!("/var/tmp/ghostlight-scratch-{}/etcd-{}", geteuid().as_raw(), lab.get());
        let folder = PathBuf::from(folder);
        if folder.exists() {
            // The number is ours now: whoever had it before was killed before it could tidy up.
            fs::remove_dir_all(&folder).map_err(failed(folder.display().to_string()))?;
        }
        let mut scratch = ScratchEtcd { members: Vec::new(), folder };
        for place in &cluster {
            let member = Member::create(&cluster, &place.name, &scratch.folder.join(&place.name))?;
            scratch.members.push((member, None));
        }
        for i in 0..cluster.len() {
            scratch.run(i).await?;
        }
        for i in 0..cluster.len() {
            scratch.ready(i).await?;
        }
        Ok(scratch)
    }

    /// The members' addresses, as clients write them.
    pub fn urls(&self) -> Vec<String> {
        self.members.iter().map(|(member, _)| member.place().url()).collect()
    }

    /// Starts a member that was killed, without waiting for it.
    pub async fn run(&mut self, i: usize) -> Result<(), EtcdError> {
        let log = self.folder.join(format!("{i}.log"));
        let open = fs::OpenOptions::new().append(true).create(true).open(&log);
        let mut command = self.members[i].0.command()?;
        command.stdout(Stdio::null()).stderr(open.map_err(failed(log.display().to_string()))?);
        self.members[i].1 = Some(process::spawn(command).await.map_err(failed("etcd cannot be started"))?);
        Ok(())
    }

    /// Waits until a member sees the majority.
    pub async fn ready(&self, i: usize) -> Result<(), EtcdError> {
        let (member, started) = (&self.members[i].0, Boot::now());
        while !is_healthy(member.place().client).await {
            if started.elapsed() > READY_WITHIN {
                let what =
                    format!("etcd at {}, whose log is in {}", member.place().url(), self.folder.display());
                return Err(failed(what)(std::io::ErrorKind::TimedOut.into()));
            }
            sleep(READY_POLL).await; // it tells when asked
        }
        Ok(())
    }

    /// Kills a member with SIGKILL, as a power failure would, and waits until it is gone.
    pub async fn kill(&mut self, i: usize) -> Result<(), EtcdError> {
        match self.members[i].1.take() {
            Some(mut child) => child.kill().await.map_err(failed("killing etcd")),
            None => Ok(()),
        }
    }

    /// Stops a member in the middle of what it does (SIGSTOP): its connections stay open and mute.
    pub fn pause(&self, i: usize) {
        self.signal(i, Signal::STOP);
    }

    /// Lets a stopped member go on.
    pub fn go_on(&self, i: usize) {
        self.signal(i, Signal::CONT);
    }

    fn signal(&self, i: usize, signal: Signal) {
        let id = self.members[i].1.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok());
        if let Some(Err(e)) = id.and_then(Pid::from_raw).map(|pid| kill_process(pid, signal)) {
            tracing::debug!("member {i} has ended by itself: {e}");
        }
    }
}

impl Drop for ScratchEtcd {
    fn drop(&mut self) {
        for (_, child) in &mut self.members {
            if let Some(Err(e)) = child.as_mut().map(Child::start_kill) {
                tracing::debug!("a member has ended by itself: {e}");
            }
        }
        if let Err(e) = fs::remove_dir_all(&self.folder) {
            tracing::debug!("{} is left behind: {e}", self.folder.display());
        }
    }
}

/// Whether the member at `address` says that it sees a leader and can read.
pub async fn is_healthy(address: SocketAddr) -> bool {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut status_line = [0_u8; 12];
        stream.read_exact(&mut status_line).await?;
        std::io::Result::Ok(status_line.ends_with(b" 200"))
    };
    matches!(timeout(Duration::from_secs(1), exchange).await, Ok(Ok(true)))
}
