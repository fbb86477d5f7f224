//! What takes `/proc`, symbolic links, limits or signals.

use std::os::unix::fs::symlink;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};

use super::*;

impl Server {
    fn proc(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string()).join(name)
    }

    /// Their numbers. To be asked when no file is open for a response.
    fn descriptors(&self) -> Vec<usize> {
        let entries = fs::read_dir(self.proc("fd")).unwrap();
        entries.map(|e| e.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    }

    /// The most memory that was in use, in KiB.
    fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// In hundredths of a second.
    fn processor_time(&self) -> u64 {
        let stat = fs::read_to_string(self.proc("stat")).unwrap();
        let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
        fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }
}

/// Waits for something that no stream shows. The client's requests have the server go on meanwhile.
fn until(client: &mut Client, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain");
        assert_eq!(client.get("/nothing", ""), not_found());
    }
}

#[test]
fn a_listing_longer_than_what_a_stream_takes_at_once() {
    let folder = Folder::new("listing");
    let names: Vec<_> = (10_000..22_000).map(|i| format!("{i}{}", "x".repeat(240))).collect();
    for name in &names {
        symlink("nowhere", folder.0.join(name)).unwrap();
    }
    let server = Server::new(&folder);
    let page = server.client().get("/", "");
    let links: Vec<_> = page.lines().filter_map(|l| l.strip_prefix("<li><a href=\"")).collect();
    assert_eq!(links.len(), names.len() + 1);
    for (link, name) in links.iter().zip(&names) {
        assert_eq!(*link, format!("{name}\">{name}</a>"));
    }
}

#[test]
fn links_lead_to_what_is_below_the_root() {
    let folder = Folder::new("links");
    folder.file("linked/file", b"");
    symlink("../ten.txt", folder.0.join("linked/link.txt")).unwrap();
    symlink("/etc/passwd", folder.0.join("linked/index.html")).unwrap();
    symlink("/etc/passwd", folder.0.join("escape")).unwrap();
    symlink("/etc", folder.0.join("etc")).unwrap();
    symlink("loop", folder.0.join("loop")).unwrap();
    assert!(Command::new("mkfifo").arg(folder.0.join("fifo")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(folder.0.join("socket")).unwrap();
    let server = Server::new(&folder);
    let mut client = server.client();
    assert_eq!(client.get("/linked/link.txt", ""), ok("0123456789"));
    let links: String = ["file", "index.html", "link.txt"]
        .iter()
        .map(|name| format!("<li><a href=\"{name}\">{name}</a>\n"))
        .collect();
    assert_eq!(client.get("/linked/", ""), listing("/linked/", &links));
    for target in ["/escape", "/etc/", "/etc/passwd", "/loop", "/fifo", "/socket"] {
        assert_eq!(client.get(target, ""), not_found(), "{target}");
    }
}

#[test]
fn long_files_take_no_memory() {
    const LENGTH: usize = 256 << 20;
    let folder = Folder::new("long");
    let pattern: Vec<u8> = (0..6_000_000_u32).flat_map(u32::to_le_bytes).collect();
    folder.file("pattern", &pattern);
    folder.long_file("zeros", LENGTH as u64);
    let server = Server::new(&folder);
    // One that never reads must not hold up those that do.
    let mut stuck = server.client();
    stuck.send("GET /zeros HTTP/1.1\r\nHost: here\r\n\r\n");
    let mut client = server.client();
    client.send("GET /pattern HTTP/1.1\r\nHost: here\r\n\r\n");
    // Both have their turn each time, so by then the stream is full to its last byte.
    let mut witness = server.client();
    for _ in 0..500 {
        assert_eq!(witness.get("/ten.txt", ""), ok("0123456789"));
    }
    assert_eq!(client.head().1, pattern.len());
    let mut body = vec![0; pattern.len()];
    client.0.read_exact(&mut body).unwrap();
    assert!(body == pattern);
    client.send("GET /zeros HTTP/1.1\r\nHost: here\r\n\r\n");
    assert_eq!(client.head().1, LENGTH);
    let copied = std::io::copy(&mut client.0.by_ref().take(LENGTH as u64), &mut std::io::sink());
    assert_eq!(copied.unwrap(), LENGTH as u64);
    assert_eq!(client.get("/ten.txt", ""), ok("0123456789"));
    assert!(server.peak_memory() < 16 * 1024, "{} KiB", server.peak_memory());
}

#[test]
fn clients_that_vanish_leave_nothing_behind() {
    let folder = Folder::new("vanish");
    folder.long_file("zeros", 64 << 20);
    let server = Server::new(&folder);
    let mut witness = server.client();
    assert_eq!(witness.get("/nothing", ""), not_found());
    let before = server.descriptors().len();
    for _ in 0..50 {
        // In the midst of a response, of a head, and before it.
        let mut client = server.client();
        client.send("GET /zeros HTTP/1.1\r\nHost: here\r\n\r\n");
        client.head();
        server.client().send("GET /");
        server.client();
    }
    until(&mut witness, || server.descriptors().len() == before);
    assert_eq!(witness.get("/ten.txt", ""), ok("0123456789"));
}

#[test]
fn who_takes_nothing_of_a_response_is_closed() {
    let folder = Folder::new("stuck");
    folder.long_file("zeros", 64 << 20);
    let server = Server::with_limits(&folder, &["60", "60", "0.2"]);
    let mut idle = server.client();
    assert_eq!(idle.get("/nothing", ""), not_found());
    let before = server.descriptors().len();
    let mut stuck = server.client();
    stuck.send("GET /zeros HTTP/1.1\r\nHost: here\r\n\r\n");
    stuck.head();
    until(&mut idle, || server.descriptors().len() == before);
    assert!(stuck.rest().len() < 64 << 20);
    assert_eq!(idle.get("/ten.txt", ""), ok("0123456789"));
}

#[test]
fn without_descriptors_it_goes_on() {
    const CLIENTS: usize = 200;
    let folder = Folder::new("descriptors");
    folder.long_file("zeros", 16 << 20);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""]);
    command.arg(example()).arg(&folder.0).arg("127.0.0.1:0");
    let server = Server::start(&mut command, &folder);
    let mut established = server.client();
    assert_eq!(established.get("/nothing", ""), not_found());
    // One that was inherited may have a number beyond the limit.
    let room = 64 - server.descriptors().iter().filter(|number| **number < 64).count();

    let (served, is_served) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel();
    let may_leave = Arc::new(Mutex::new(may_leave));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (address, served) = (server.address.clone(), served.clone());
            let may_leave = Arc::clone(&may_leave);
            thread::spawn(move || {
                let mut client = Client::new(&address);
                assert_eq!(client.get("/ten.txt", ""), ok("0123456789"));
                served.send(()).unwrap();
                may_leave.lock().unwrap().recv().unwrap();
            })
        })
        .collect();
    for _ in 0..room {
        is_served.recv_timeout(PATIENCE).unwrap();
    }
    let before = server.processor_time();
    assert_eq!(is_served.recv_timeout(Duration::from_secs(1)), Err(RecvTimeoutError::Timeout));
    let spent = server.processor_time() - before;
    assert!(spent <= 10, "{spent} ticks to do nothing");

    // There is no descriptor left for a file either, but for those kept back.
    for _ in 0..100 {
        assert_eq!(established.get("/ten.txt", ""), ok("0123456789"));
    }
    established.send("GET /zeros HTTP/1.1\r\nHost: here\r\n\r\n");
    let length = established.head().1 as u64;
    let copied = std::io::copy(&mut established.0.by_ref().take(length), &mut std::io::sink());
    assert_eq!(copied.unwrap(), 16 << 20);
    assert_eq!(is_served.try_recv(), Err(mpsc::TryRecvError::Empty));

    leave.send(()).unwrap();
    is_served.recv_timeout(PATIENCE).unwrap();
    (1..CLIENTS).for_each(|_| leave.send(()).unwrap());
    for _ in room + 1..CLIENTS {
        is_served.recv_timeout(PATIENCE).unwrap();
    }
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(established.get("/ten.txt", ""), ok("0123456789"));
}

#[test]
fn a_signal_ends_it_when_responses_are_sent() {
    for signal in ["TERM", "INT"] {
        let folder = Folder::new(&format!("signal_{signal}"));
        folder.long_file("zeros", 64 << 20);
        let mut server = Server::new(&folder);
        let mut busy = server.client();
        busy.send("GET /zeros HTTP/1.1\r\nHost: here\r\n\r\n");
        busy.head();
        let mut idle = server.client();
        assert_eq!(idle.get("/ten.txt", ""), ok("0123456789"));
        server.signal(signal);
        assert_eq!(idle.rest(), "");
        let refused = TcpStream::connect(&server.address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(busy.rest().len(), 64 << 20);
        assert!(server.child.wait().unwrap().success());
    }
}
