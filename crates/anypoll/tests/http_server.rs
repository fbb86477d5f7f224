//! Drives the example of this name, as a process of its own, with plain streams of std.
#![cfg(any(unix, windows))]

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use httpdate::HttpDate;

#[cfg(target_os = "linux")]
#[path = "http_server/on_linux.rs"]
mod on_linux;

/// Long enough that a test which needs all of it has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// When all files were changed last.
const MODIFIED: &str = "Sun, 09 Sep 2001 01:46:40 GMT";

/// A folder for one test, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("http_server_{name}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        let folder = Self(fs::canonicalize(path).unwrap());
        folder.file("ten.txt", b"0123456789");
        folder
    }

    fn file(&self, name: &str, content: &[u8]) -> File {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
        file
    }

    /// One of zeros, which takes no room.
    fn long_file(&self, name: &str, length: u64) -> File {
        let file = self.file(name, b"");
        file.set_len(length).unwrap();
        file
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn new(folder: &Folder) -> Self {
        Self::with_limits(folder, &[])
    }

    fn with_limits(folder: &Folder, seconds: &[&str]) -> Self {
        let mut command = Command::new(example());
        command.arg(&folder.0).arg("127.0.0.1:0").args(seconds);
        Self::start(&mut command, folder)
    }

    fn start(command: &mut Command, folder: &Folder) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let says = format!("{} is at http://", folder.0.display());
        let address = line.strip_prefix(&says).and_then(|rest| rest.strip_suffix("/\n"));
        Self { address: address.expect(&line).to_owned(), child }
    }

    fn client(&self) -> Client {
        Client::new(&self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn example() -> PathBuf {
    let profile = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
    let example =
        profile.join("examples/http_server").with_extension(std::env::consts::EXE_EXTENSION);
    assert!(example.exists(), "`cargo test` builds it, or `cargo build --example http_server`");
    example
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn new(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// The next response without its date, and what its length says.
    fn head(&mut self) -> (String, usize) {
        let (mut head, mut length, mut dates) = (String::new(), 0, 0);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            assert!(line.ends_with("\r\n"), "{head:?} goes on with {line:?}");
            if let Some(date) = line.strip_prefix("Date: ") {
                date.trim_end().parse::<HttpDate>().unwrap();
                dates += 1;
                continue;
            }
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim_end().parse().unwrap();
            }
            head += &line;
            if line == "\r\n" {
                assert_eq!(dates, 1, "{head}");
                return (head, length);
            }
        }
    }

    fn response(&mut self) -> String {
        let (head, length) = self.head();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        head + str::from_utf8(&body).unwrap()
    }

    fn get(&mut self, target: &str, headers: &str) -> String {
        self.send(&format!("GET {target} HTTP/1.1\r\nHost: here\r\n{headers}\r\n"));
        self.response()
    }

    /// What comes before the server closes.
    fn rest(mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        rest
    }
}

fn ok(body: &str) -> String {
    ok_of("text/plain; charset=utf-8", body)
}

fn ok_of(kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nLast-Modified: {MODIFIED}\r\n\
         Accept-Ranges: bytes\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// An answer that has only its status to say.
fn bare(status: &str, connection: &str, headers: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nConnection: {connection}\r\nContent-Type: text/plain\r\n{headers}\
         Content-Length: {}\r\n\r\n{status}\n",
        status.len() + 1
    )
}

fn not_found() -> String {
    bare("404 Not Found", "keep-alive", "")
}

#[test]
fn files() {
    let folder = Folder::new("files");
    folder.file("empty", b"");
    folder.file("page.html", b"<p>");
    folder.file("picture.png", b"\x89PNG"[1..].as_ref());
    folder.file("a b/%41\u{e9}.txt", b"odd");
    let server = Server::new(&folder);
    let mut client = server.client();
    assert_eq!(client.get("/ten.txt", ""), ok("0123456789"));
    assert_eq!(client.get("/empty", ""), ok_of("application/octet-stream", ""));
    assert_eq!(client.get("/page.html", ""), ok_of("text/html; charset=utf-8", "<p>"));
    assert_eq!(client.get("/picture.png", ""), ok_of("image/png", "PNG"));
    assert_eq!(client.get("/a%20b/%2541%c3%A9.txt", ""), ok("odd"));
    assert_eq!(client.get("//./t%65n.txt?a=/..#b", ""), ok("0123456789"));
    assert_eq!(client.get("http://elsewhere/ten.txt", ""), ok("0123456789"));
    client.send("HEAD /ten.txt HTTP/1.1\r\nHost: here\r\nRange: bytes=1-2\r\n\r\n");
    assert_eq!(client.head(), (ok("0123456789").replace("0123456789", ""), 10));
    client.send("HEAD /nothing HTTP/1.1\r\nHost: here\r\n\r\n");
    assert_eq!(client.head().0, not_found().replace("\r\n\r\n404 Not Found\n", "\r\n\r\n"));
    assert_eq!(client.get("/ten.txt", ""), ok("0123456789"));
}

/// The page of a folder.
fn listing(title: &str, links: &str) -> String {
    let page =
        format!("<!DOCTYPE html>\n<title>{title}</title>\n<h1>{title}</h1>\n<ul>\n{links}</ul>\n");
    format!(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Type: text/html; charset=utf-8\
         \r\nContent-Length: {}\r\n\r\n{page}",
        page.len()
    )
}

#[test]
fn folders() {
    // Windows forbids most of what HTML wants written otherwise.
    let (odd, odd_link, odd_text) = if cfg!(windows) {
        ("&.txt", "%26.txt", "&amp;.txt")
    } else {
        ("<&\".txt", "%3C%26%22.txt", "&lt;&amp;&quot;.txt")
    };
    let folder = Folder::new("folders");
    folder.file("with/index.html", b"index");
    folder.file(&format!("without/{odd}"), b"");
    folder.file("without/sub/file", b"");
    folder.file("without/.hidden", b"");
    let server = Server::new(&folder);
    let mut client = server.client();
    let moved = |to| bare("301 Moved Permanently", "keep-alive", &format!("Location: {to}\r\n"));
    assert_eq!(client.get("/with/", ""), ok_of("text/html; charset=utf-8", "index"));
    assert_eq!(client.get("/with", ""), moved("/with/"));
    assert_eq!(client.get("//without//%73ub/.?q", ""), moved("/without/sub/"));
    let links =
        format!("<li><a href=\"{odd_link}\">{odd_text}</a>\n<li><a href=\"sub/\">sub/</a>\n");
    assert_eq!(client.get("/without/", ""), listing("/without/", &links));
}

#[test]
fn what_is_not_below_the_root_is_not_there() {
    let folder = Folder::new("outside");
    folder.file("inside/file", b"");
    folder.file(".hidden", b"");
    let server = Server::new(&folder);
    let mut client = server.client();
    let long = format!("/{}", "x".repeat(300));
    for target in [
        "/nothing",
        "/ten.txt/",
        "/ten.txt/x",
        "/..",
        "/.hidden",
        "/../http_server_outside/ten.txt",
        "/inside/../ten.txt",
        "/inside/%2e%2E/ten.txt",
        "/..%2fhttp_server_outside/ten.txt",
        "/inside%2ffile",
        "/ten.txt%00",
        "/%",
        &long,
        // What would mean something to Windows.
        "/inside%5cfile",
        "/inside%5c..%5cten.txt",
        "/ten.txt:stream",
        "/ten.txt::$DATA",
        "/ten.txt.",
        "/ten.txt%20",
        "/c:",
        "/c:%5cwindows%5cwin.ini",
        "/%5c%5c.%5cnul",
        "/nul",
        "/con",
        "/com1",
    ] {
        assert_eq!(client.get(target, ""), not_found(), "{target}");
    }
}

#[test]
fn ranges() {
    let folder = Folder::new("ranges");
    folder.file("empty", b"");
    let server = Server::new(&folder);
    let mut client = server.client();
    for (range, part) in [
        ("0-0", "0-0/10 0"),
        ("2-4", "2-4/10 234"),
        ("2-99999999999999999999999", "2-9/10 23456789"),
        ("9-", "9-9/10 9"),
        ("-3", "7-9/10 789"),
        ("-30", "0-9/10 0123456789"),
    ] {
        let (range_and_length, body) = part.split_once(' ').unwrap();
        let expected = ok(body).replace("200 OK", "206 Partial Content").replace(
            "\nContent-Type",
            &format!("\nContent-Range: bytes {range_and_length}\r\nContent-Type"),
        );
        assert_eq!(client.get("/ten.txt", &format!("Range: bytes={range}\r\n")), expected);
    }
    for range in ["10-", "10-12", "-0", "99999999999999999999999-"] {
        assert_eq!(
            client.get("/ten.txt", &format!("Range: bytes={range}\r\n")),
            bare("416 Range Not Satisfiable", "keep-alive", "Content-Range: bytes */10\r\n")
        );
    }
    for range in ["lines=0-1", "bytes=", "bytes=-", "bytes=4-2", "bytes=+1-2", "bytes=0-1,3-4"] {
        assert_eq!(client.get("/ten.txt", &format!("Range: {range}\r\n")), ok("0123456789"));
    }
    assert_eq!(
        client.get("/empty", "Range: bytes=0-\r\n"),
        bare("416 Range Not Satisfiable", "keep-alive", "Content-Range: bytes */0\r\n")
    );
}

#[test]
fn conditions() {
    let folder = Folder::new("conditions");
    let ancient = folder.file("ancient", b"");
    // -1 is no time at all to FreeBSD, its `VNOVAL`.
    ancient.set_modified(UNIX_EPOCH - Duration::from_secs(2)).unwrap();
    let future = folder.file("future", b"");
    future.set_modified(UNIX_EPOCH + Duration::from_secs(1 << 38)).unwrap();
    let server = Server::new(&folder);
    let mut client = server.client();
    let before = "Sun, 09 Sep 2001 01:46:39 GMT";
    let after = "Sunday, 09-Sep-01 01:46:41 GMT";
    for date in [MODIFIED, after] {
        assert_eq!(
            client.get("/ten.txt", &format!("If-Modified-Since: {date}\r\n")),
            format!(
                "HTTP/1.1 304 Not Modified\r\nConnection: keep-alive\r\n\
                 Last-Modified: {MODIFIED}\r\nAccept-Ranges: bytes\r\n\r\n"
            )
        );
    }
    for headers in [
        format!("If-Modified-Since: {before}\r\n"),
        "If-Modified-Since: yesterday\r\n".into(),
        format!("If-Modified-Since: {MODIFIED}\r\nIf-None-Match: \"x\"\r\n"),
        format!("Range: bytes=1-2\r\nIf-Range: {before}\r\n"),
        "Range: bytes=1-2\r\nIf-Range: \"x\"\r\n".into(),
    ] {
        assert_eq!(client.get("/ten.txt", &headers), ok("0123456789"));
    }
    let part = client.get("/ten.txt", &format!("Range: bytes=1-2\r\nIf-Range: {MODIFIED}\r\n"));
    assert!(part.starts_with("HTTP/1.1 206 ") && part.ends_with("\r\n\r\n12"), "{part}");
    let ancient = client.get("/ancient", "");
    assert!(ancient.contains("\nLast-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\n"), "{ancient}");
    let future = client.get("/future", "");
    assert!(future.contains("\nLast-Modified: "), "{future}");
}

#[test]
fn connections_go_on_or_end() {
    let folder = Folder::new("connections");
    let server = Server::new(&folder);
    let closes = ok("0123456789").replace("keep-alive", "close");
    for request in [
        "GET /ten.txt HTTP/1.0\r\n\r\n",
        "GET /ten.txt HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n",
        "GET /ten.txt HTTP/1.1\r\nHost: here\r\nConnection: x\r\nConnection: y , CLOSE\r\n\r\n",
        "GET /ten.txt HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nbody",
    ] {
        let mut client = server.client();
        client.send(request);
        assert_eq!(client.response(), closes);
        assert_eq!(client.rest(), "");
    }
    let mut client = server.client();
    for request in [
        "GET /ten.txt HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n",
        "GET /ten.txt HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n",
        "\r\n\r\nGET /ten.txt HTTP/1.1\nHost: here\n\n",
    ] {
        client.send(request);
        assert_eq!(client.response(), ok("0123456789"));
    }
    // The end of the client's direction is not the end of its request.
    client.send("GET /ten.txt HTTP/1.1\r\nHost: here\r\n\r\n");
    client.0.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.response(), ok("0123456789"));
    assert_eq!(client.rest(), "");
}

#[test]
fn pipelined_requests_are_answered_in_turn() {
    let folder = Folder::new("pipelined");
    let server = Server::new(&folder);
    let mut client = server.client();
    let mut requests = String::new();
    for i in 0..2000 {
        let (first, last) = (i % 7, i % 7 + i % 3);
        requests +=
            &format!("GET /ten.txt HTTP/1.1\r\nHost: here\r\nRange: bytes={first}-{last}\r\n\r\n");
    }
    let mut stream = client.0.get_ref().try_clone().unwrap();
    let sender = thread::spawn(move || stream.write_all(requests.as_bytes()).unwrap());
    for i in 0..2000 {
        let response = client.response();
        let (_, body) = response.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, &"0123456789"[i % 7..=i % 7 + i % 3]);
    }
    sender.join().unwrap();
    assert_eq!(client.get("/nothing", ""), not_found());
}

#[test]
fn bad_requests_are_answered_and_end_the_connection() {
    let folder = Folder::new("bad");
    let server = Server::new(&folder);
    let bad = "400 Bad Request";
    let long = "x".repeat(20_000);
    let with = |header: &str| format!("GET / HTTP/1.1\r\nHost: here\r\n{header}\r\n\r\n");
    for (request, status) in [
        ("garbage\r\n\r\n".into(), bad),
        ("\0\u{1}\u{2}\u{3}".into(), bad),
        ("GET /\r\n\r\n".into(), bad),
        (with("no colon"), bad),
        (with("Content-Length: -1"), bad),
        (with("Content-Length: 1\r\nContent-Length: 2"), bad),
        ("GET / HTTP/2.0\r\n\r\n".into(), "505 HTTP Version Not Supported"),
        (with("Transfer-Encoding: chunked"), "501 Not Implemented"),
        (format!("GET /{long}"), "414 URI Too Long"),
        (with(&format!("X: {long}")), "431 Request Header Fields Too Large"),
        (with(&"X: y\r\n".repeat(200)), "431 Request Header Fields Too Large"),
    ] {
        let mut client = server.client();
        client.send(&request);
        assert_eq!(client.response(), bare(status, "close", ""), "{request:.40}");
        assert_eq!(client.rest(), "");
    }
    let mut client = server.client();
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: here\r\nHost: there\r\n\r\n",
        "GET nowhere HTTP/1.1\r\nHost: here\r\n\r\n",
    ] {
        client.send(request);
        assert_eq!(client.response(), bare(bad, "keep-alive", ""));
    }
    for method in ["POST", "DELETE", "OPTIONS", "get"] {
        client.send(&format!("{method} / HTTP/1.1\r\nHost: here\r\n\r\n"));
        assert_eq!(
            client.response(),
            bare("405 Method Not Allowed", "keep-alive", "Allow: GET, HEAD\r\n")
        );
    }
    // More than the sockets hold, so it is read; and the answer is not lost by it.
    let body = "x".repeat(8 << 20);
    client.send(&format!(
        "POST / HTTP/1.1\r\nHost: here\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(client.response(), bare("405 Method Not Allowed", "close", "Allow: GET, HEAD\r\n"));
    assert_eq!(client.rest(), "");
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let folder = Folder::new("bytes");
    let server = Server::new(&folder);
    let mut client = server.client();
    let mut other = server.client();
    for byte in "GET /ten.txt HTTP/1.1\r\nHost: here\r\nRange: bytes=0-0\r\n\r\n".chars() {
        client.send(&byte.to_string());
        assert_eq!(other.get("/ten.txt", ""), ok("0123456789"));
    }
    let response = client.response();
    assert!(response.starts_with("HTTP/1.1 206 ") && response.ends_with("\r\n\r\n0"), "{response}");
}

#[test]
fn a_file_that_shrinks_ends_the_connection() {
    let folder = Folder::new("shrinks");
    let file = folder.long_file("zeros", 64 << 20);
    let server = Server::new(&folder);
    let mut client = server.client();
    client.send("GET /zeros HTTP/1.1\r\nHost: here\r\n\r\n");
    assert_eq!(client.head().1, 64 << 20);
    file.set_len(0).unwrap();
    assert!(client.rest().len() < 64 << 20);
    assert_eq!(server.client().get("/zeros", "").rsplit_once(':').unwrap().1, " 0\r\n\r\n");
}

#[test]
fn who_does_not_finish_a_head_in_time_is_told() {
    let folder = Folder::new("head");
    let server = Server::with_limits(&folder, &["1", "60", "60"]);
    let late = bare("408 Request Timeout", "close", "");

    let mut silent_before = server.client();
    assert_eq!(silent_before.get("/ten.txt", ""), ok("0123456789"));
    let mut idle = server.client();
    assert_eq!(idle.get("/ten.txt", ""), ok("0123456789"));
    let mut pipelining = server.client();
    pipelining.send("GET /ten.txt HTTP/1.1\r\nHost: here\r\n\r\nGET /");
    assert_eq!(pipelining.response(), ok("0123456789"));

    assert_eq!(server.client().rest(), "", "nothing was asked");
    let mut half = server.client();
    half.send("GET / HTTP/1.1\r\nHost:");
    assert_eq!(half.response(), late);
    assert_eq!(half.rest(), "");
    silent_before.send("G");
    assert_eq!(silent_before.response(), late);
    assert_eq!(pipelining.response(), late);

    // The limit is for all of the head, not for a byte.
    let mut slow = server.client();
    slow.0.get_ref().set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    slow.send("GET / HTTP/1.1\r\nX: ");
    let begin = Instant::now();
    let waits =
        |error: io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
    while slow.0.fill_buf().is_err_and(waits) {
        assert!(begin.elapsed() < PATIENCE, "waited in vain");
        slow.send("x");
    }
    assert_eq!(slow.response(), late);
    assert_eq!(idle.get("/ten.txt", ""), ok("0123456789"));
}

#[test]
fn who_is_idle_too_long_is_closed() {
    let folder = Folder::new("idle");
    let server = Server::with_limits(&folder, &["60", "0.2", "60"]);
    let mut client = server.client();
    assert_eq!(client.get("/ten.txt", ""), ok("0123456789"));
    assert_eq!(client.rest(), "");
}

#[test]
fn without_arguments() {
    let folder = Folder::new("default");
    let start = || Server::start(Command::new(example()).current_dir(&folder.0), &folder);
    // The second finds the port taken.
    let servers = [start(), start()];
    assert_ne!(servers[0].address, servers[1].address);
    for server in &servers {
        assert!(server.address.starts_with("127.0.0.1:"));
        assert_eq!(server.client().get("/ten.txt", ""), ok("0123456789"));
    }
}
