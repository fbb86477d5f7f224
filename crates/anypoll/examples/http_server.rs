//! A static file server: HTTP/1.1 on one thread, with one poller.
//!
//! `http_server [folder [address [head-seconds idle-seconds write-seconds]]]` serves the current
//! folder, but for hidden files, at `127.0.0.1:8080` (or at a free port) unless told otherwise.
//! Ctrl-C, or SIGTERM, ends it once running responses are sent; a second time, at once.
//!
//! Each connection is a small state machine ([`State`]) in a slot of a table, and the slot's number
//! is its token. Everything is registered [`Mode::Level`]: an event does one bounded piece of work
//! (a read, a response begun, a write), and what is left is reported again. So nobody keeps
//! the others waiting, however fast his line is, and nothing must be remembered about who still has
//! something to do. With `Edge` there would be fewer `set_interest` calls, and a list to keep.
//! A connection is registered for one direction at a time: a client that does not read its
//! responses is not read from either.
//!
//! Disks know no readiness: a read of a file that is not in memory holds everybody up. A server
//! that minds reads in threads, and has them wake the poller ([`anypoll::Waker`]).

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, str};

use anypoll::timers::{Key, Timers};
use anypoll::{Events, Interest, Mode, Poller, Registered, Token, net};
use httparse::{EMPTY_HEADER, Request, Status};
use httpdate::HttpDate;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// The other tokens are numbers of slots.
const LISTENER: Token = Token(usize::MAX);
const SIGNAL: Token = Token(usize::MAX - 1);

/// The longest request head, in bytes and in lines.
const HEAD_BYTES: usize = 16 * 1024;
const HEAD_LINES: usize = 100;
/// The most that one write sends of a file.
const CHUNK: usize = 64 * 1024;
/// How many connections one event of the listener takes.
const ACCEPTS: usize = 64;
/// Descriptors that are kept back from new connections, for the files of those that are there.
const SPARES: usize = 8;
/// How long nobody is accepted after descriptors ran out, unless a connection ends.
const PAUSE: Duration = Duration::from_millis(100);
/// What a name keeps in a URL.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const BAD_REQUEST: &str = "400 Bad Request";

/// How long a client may take.
struct Limits {
    /// To send the head of a request, all of it; and to close after us.
    head: Duration,
    /// To send another request.
    idle: Duration,
    /// To take some of a response.
    write: Duration,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let folder = args.next().unwrap_or(".".into());
    let root = fs::canonicalize(&folder).map_err(|error| format!("{folder}: {error}"))?;
    let listener = match args.next() {
        Some(address) => TcpListener::bind(address)?,
        None => {
            TcpListener::bind(&[8080, 0].map(|p| SocketAddr::from((Ipv4Addr::LOCALHOST, p)))[..])?
        }
    };
    let mut seconds = |default| match args.next() {
        Some(seconds) => Ok(Duration::try_from_secs_f64(seconds.parse()?)?),
        None => Ok::<_, Box<dyn Error>>(Duration::from_secs(default)),
    };
    let limits = Limits { head: seconds(10)?, idle: seconds(60)?, write: seconds(30)? };
    println!("{} is at http://{}/", root.display(), listener.local_addr()?);
    Ok(Server::new(root, listener, limits)?.run()?)
}

struct Server {
    poller: Poller,
    /// Gone once the server is to end.
    listener: Option<Registered<TcpListener>>,
    /// Until when nobody is accepted.
    paused: Option<Instant>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// The slots that became free while a batch of events was worked off. They are used again only
    /// after it: the batch may hold another event for the connection that was there (some systems
    /// report each direction by itself), which its successor is not to be taken for.
    closed: Vec<usize>,
    /// One for each connection, with its slot.
    timers: Timers<usize>,
    limits: Limits,
    site: Site,
    /// Holds nothing between two events, so one is enough for all connections.
    buffer: Vec<u8>,
}

impl Server {
    fn new(root: PathBuf, listener: TcpListener, limits: Limits) -> io::Result<Self> {
        let poller = Poller::new()?;
        let signal = poller.waker(SIGNAL);
        ctrlc::set_handler(move || signal.wake()).map_err(io::Error::other)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener: Some(poller.register(listener, LISTENER, Interest::READABLE, Mode::Level)?),
            poller,
            paused: None,
            connections: Vec::new(),
            free: Vec::new(),
            closed: Vec::new(),
            timers: Timers::new(),
            limits,
            site: Site { root, spares: Vec::new() },
            buffer: vec![0; CHUNK],
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        while self.listener.is_some() || !self.timers.is_empty() {
            let next = self.timers.next_deadline().into_iter().chain(self.paused).min();
            self.poller.wait_until(&mut events, next)?;
            let now = Instant::now();
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(now),
                    SIGNAL if self.listener.is_none() => return Ok(()),
                    SIGNAL => self.stop(),
                    Token(slot) => self.serve(slot, now),
                }
            }
            self.expire(now);
            if !self.closed.is_empty() || self.paused.is_some_and(|until| until <= now) {
                self.resume()?;
            }
            self.free.append(&mut self.closed);
        }
        Ok(())
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTS {
            match self.accept_one(now) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                // By a client that went away meanwhile.
                Err(e) if e.kind() == ErrorKind::ConnectionAborted => {}
                // Out of descriptors or of memory. The client stays in the queue, and a listener
                // that stayed of interest would be reported without end.
                Err(_) => {
                    self.paused = Some(now + PAUSE);
                    let _ = self.listener.as_ref().map(|l| l.set_interest(Interest::NONE));
                    return;
                }
            }
        }
    }

    fn accept_one(&mut self, now: Instant) -> io::Result<()> {
        let Some(listener) = &self.listener else { return Err(ErrorKind::WouldBlock.into()) };
        while self.site.spares.len() < SPARES {
            self.site.spares.push(File::open(system::NOTHING)?);
        }
        let (stream, _) = listener.try_io(Interest::READABLE, net::accept)?;
        // A response is written in as few pieces as can be: there is nothing to wait for.
        let _ = stream.set_nodelay(true);
        if self.free.is_empty() {
            self.free.push(self.connections.len());
            self.connections.push(None);
        }
        let slot = self.free[self.free.len() - 1];
        let stream = self.poller.register(stream, Token(slot), Interest::READABLE, Mode::Level)?;
        let deadline = now + self.limits.head;
        let timer = self.timers.insert(deadline, slot);
        let (input, state) = (Vec::new(), State::Request);
        self.connections[slot] = Some(Connection { stream, input, state, deadline, timer });
        self.free.pop();
        Ok(())
    }

    fn resume(&mut self) -> io::Result<()> {
        match &self.listener {
            Some(listener) if self.paused.take().is_some() => {
                listener.set_interest(Interest::READABLE)
            }
            _ => Ok(()),
        }
    }

    fn serve(&mut self, slot: usize, now: Instant) {
        // Closed by an earlier event of this batch?
        let Some(connection) = &mut self.connections[slot] else { return };
        let before = connection.deadline;
        let mut work = || {
            let next = connection.work(now, &self.limits, &mut self.site, &mut self.buffer)?;
            connection.wait_for(next)
        };
        let result = work();
        if connection.deadline != before {
            self.timers.reset(connection.timer, connection.deadline);
        }
        // Reported, and yet there is nothing to read: it happens.
        if result.is_err_and(|error| error.kind() != ErrorKind::WouldBlock) {
            self.close(slot);
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some((_, slot)) = self.timers.expire(now) {
            match &mut self.connections[slot] {
                // Who has begun to ask is told.
                Some(connection) if connection.is_asking() => {
                    let late = Reply::error("408 Request Timeout").into_response(false, false);
                    connection.state = State::Response(late);
                    connection.deadline = now + self.limits.write;
                    connection.timer = self.timers.insert(connection.deadline, slot);
                    self.serve(slot, now);
                }
                _ => self.close(slot),
            }
        }
    }

    fn close(&mut self, slot: usize) {
        if let Some(connection) = self.connections[slot].take() {
            self.timers.cancel(connection.timer);
            self.closed.push(slot);
        }
    }

    fn stop(&mut self) {
        self.listener = None;
        // Nobody has time for another request.
        self.limits.idle = Duration::ZERO;
        for slot in 0..self.connections.len() {
            let waits = |c: &Connection| matches!(c.state, State::Idle | State::Request);
            if self.connections[slot].as_ref().is_some_and(waits) {
                self.close(slot);
            }
        }
    }
}

struct Connection {
    stream: Registered<TcpStream>,
    /// What came and is not yet answered.
    input: Vec<u8>,
    state: State,
    /// When it is given up, unless it gets on before.
    deadline: Instant,
    timer: Key,
}

enum State {
    /// Between two requests.
    Idle,
    /// A request is awaited or begun.
    Request,
    Response(Response),
    /// The last response is sent, and so is our end of the stream. What the client still sends is
    /// read and thrown away until it closes: closing over unread data would reset the connection,
    /// and the client might lose the response.
    Closing,
}

impl Connection {
    /// Does one bounded piece of work and says what to wait for next. An error ends the connection.
    fn work(
        &mut self,
        now: Instant,
        limits: &Limits,
        site: &mut Site,
        buffer: &mut [u8],
    ) -> io::Result<Interest> {
        let waits_to_read = self.stream.interest() == Interest::READABLE;
        if waits_to_read && !matches!(self.state, State::Response(_)) {
            let n = self.stream.read(&mut buffer[..HEAD_BYTES - self.input.len()])?;
            match self.state {
                _ if n == 0 => return Err(ErrorKind::UnexpectedEof.into()),
                State::Closing => return Ok(Interest::READABLE),
                State::Idle => {
                    self.state = State::Request;
                    self.deadline = now + limits.head;
                }
                State::Request | State::Response(_) => {}
            }
            self.input.extend_from_slice(&buffer[..n]);
        }
        if let State::Request = self.state {
            let Some((used, response)) = site.answer(&self.input) else {
                return Ok(Interest::READABLE);
            };
            self.input.drain(..used);
            self.state = State::Response(response);
            self.deadline = now + limits.write;
        }
        let State::Response(response) = &mut self.state else { return Ok(Interest::READABLE) };
        if response.send(&mut self.stream, buffer)? > 0 {
            self.deadline = now + limits.write;
        }
        if !response.is_sent() {
            return Ok(Interest::WRITABLE);
        }
        if !response.keep_alive || limits.idle.is_zero() {
            self.stream.get_ref().shutdown(Shutdown::Write)?;
            self.state = State::Closing;
            self.input = Vec::new();
            self.deadline = now + limits.head;
        } else if self.input.is_empty() {
            self.state = State::Idle;
            self.deadline = now + limits.idle;
        } else {
            // The next request was sent along with this one. The stream can be written to, most
            // likely, so this asks for another turn: after all others.
            self.state = State::Request;
            self.deadline = now + limits.head;
            return Ok(Interest::WRITABLE);
        }
        Ok(Interest::READABLE)
    }

    fn is_asking(&self) -> bool {
        matches!(self.state, State::Request) && !self.input.is_empty()
    }

    fn wait_for(&self, interest: Interest) -> io::Result<()> {
        if interest == self.stream.interest() { Ok(()) } else { self.stream.set_interest(interest) }
    }
}

/// The bytes of a response that are still to be sent.
struct Response {
    head: Vec<u8>,
    file: Option<File>,
    /// Of the file.
    range: Range<u64>,
    keep_alive: bool,
}

impl Response {
    /// What the stream does not take is read again the next time, from the system's cache: so no
    /// response needs a buffer of its own.
    fn send(&mut self, stream: &mut impl Write, buffer: &mut [u8]) -> io::Result<usize> {
        let mut chunk = 0;
        if let Some(file) = &self.file {
            let left = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX);
            chunk = system::read_at(file, &mut buffer[..left.min(CHUNK)], self.range.start)?;
            // The length was promised, and the file has become shorter.
            if chunk == 0 && left > 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let pieces = [IoSlice::new(&self.head), IoSlice::new(&buffer[..chunk])];
        let sent = match stream.write_vectored(&pieces) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => 0,
            sent => sent?,
        };
        let of_head = sent.min(self.head.len());
        self.head.drain(..of_head);
        self.range.start += (sent - of_head) as u64;
        Ok(sent)
    }

    fn is_sent(&self) -> bool {
        self.head.is_empty() && self.range.is_empty()
    }
}

/// What is answered.
struct Reply {
    status: &'static str,
    headers: String,
    body: Body,
}

enum Body {
    None,
    Text(String),
    File(File, Range<u64>),
}

impl Reply {
    fn error(status: &'static str) -> Self {
        let headers = "Content-Type: text/plain\r\n".into();
        Self { status, headers, body: Body::Text(format!("{status}\n")) }
    }

    fn into_response(self, head_only: bool, keep_alive: bool) -> Response {
        let date = HttpDate::from(SystemTime::now());
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let mut head = format!(
            "HTTP/1.1 {}\r\nDate: {date}\r\nConnection: {connection}\r\n{}",
            self.status, self.headers
        );
        let length = match &self.body {
            Body::None => None,
            Body::Text(text) => Some(text.len() as u64),
            Body::File(_, range) => Some(range.end - range.start),
        };
        if let Some(length) = length {
            let _ = write!(head, "Content-Length: {length}\r\n");
        }
        head += "\r\n";
        let (mut file, mut range) = (None, 0..0);
        match self.body {
            Body::Text(text) if !head_only => head += &text,
            Body::File(f, r) if !head_only => (file, range) = (Some(f), r),
            _ => {}
        }
        Response { head: head.into_bytes(), file, range, keep_alive }
    }
}

impl From<io::Error> for Reply {
    fn from(error: io::Error) -> Self {
        Self::error(match error.kind() {
            ErrorKind::PermissionDenied => "403 Forbidden",
            _ if system::is_exhausted(&error) => "503 Service Unavailable",
            _ => "404 Not Found",
        })
    }
}

/// The files below a folder.
struct Site {
    /// Absolute and without symbolic links.
    root: PathBuf,
    /// Closed to make room when a file is to be opened and descriptors have run out. Made anew
    /// before the next connection is accepted.
    spares: Vec<File>,
}

impl Site {
    /// The response to a request, and how many bytes the request has; `None` until all of its head
    /// is there.
    fn answer(&mut self, input: &[u8]) -> Option<(usize, Response)> {
        let mut headers = [EMPTY_HEADER; HEAD_LINES];
        let mut request = Request::new(&mut headers);
        let refused = match request.parse(input) {
            Ok(Status::Complete(length)) => {
                return Some((length, self.reply(&request)));
            }
            Ok(Status::Partial) if input.len() < HEAD_BYTES => return None,
            Ok(Status::Partial) if !input.contains(&b'\n') => "414 URI Too Long",
            Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                "431 Request Header Fields Too Large"
            }
            Err(httparse::Error::Version) => "505 HTTP Version Not Supported",
            Err(_) => BAD_REQUEST,
        };
        // Where the next request would begin is anybody's guess.
        Some((input.len(), Reply::error(refused).into_response(false, false)))
    }

    fn reply(&mut self, request: &Request<'_, '_>) -> Response {
        let reply = match check(request) {
            Err(refused) => refused,
            Ok(()) => loop {
                match self.find(request) {
                    Err(error) if system::is_exhausted(&error) && self.spares.pop().is_some() => {}
                    found => break found.unwrap_or_else(Reply::from),
                }
            },
        };
        reply.into_response(request.method == Some("HEAD"), keeps_alive(request))
    }

    fn find(&self, request: &Request<'_, '_>) -> io::Result<Reply> {
        let Some(path) = path(request) else { return Ok(Reply::error(BAD_REQUEST)) };
        let name = file_name(path)?;
        let mut found = self.open(&name)?;
        if found.metadata.is_dir() {
            if !path.ends_with('/') {
                return Ok(moved_to(&name));
            }
            match self.open(&name.join("index.html")) {
                Ok(index) if index.metadata.is_file() => found = index,
                Err(error) if system::is_exhausted(&error) => return Err(error),
                _ => return list(&found.path, path),
            }
        } else if !found.metadata.is_file() || path.ends_with('/') {
            return Err(ErrorKind::NotFound.into());
        }
        found.into_reply(request)
    }

    /// Opens whatever has this name, if it is below the root once symbolic links are followed.
    fn open(&self, name: &Path) -> io::Result<Found> {
        let path = fs::canonicalize(self.root.join(name))?;
        if !path.starts_with(&self.root) {
            return Err(ErrorKind::NotFound.into());
        }
        let file = system::open(&path)?;
        Ok(Found { metadata: file.metadata()?, file, path })
    }
}

struct Found {
    path: PathBuf,
    file: File,
    metadata: Metadata,
}

impl Found {
    fn into_reply(self, request: &Request<'_, '_>) -> io::Result<Reply> {
        let length = self.metadata.len();
        // Neither from the future, which HTTP forbids, nor from before its time.
        let modified = self.metadata.modified()?.min(SystemTime::now()).max(UNIX_EPOCH);
        let modified = HttpDate::from(modified);
        let date = |name| header(request, name).and_then(|value| value.parse::<HttpDate>().ok());
        let mut headers = format!("Last-Modified: {modified}\r\nAccept-Ranges: bytes\r\n");
        if header(request, "If-None-Match").is_none()
            && date("If-Modified-Since").is_some_and(|known| modified <= known)
        {
            return Ok(Reply { status: "304 Not Modified", headers, body: Body::None });
        }
        let of_this =
            || header(request, "If-Range").is_none() || date("If-Range") == Some(modified);
        let range = header(request, "Range")
            .filter(|_| request.method == Some("GET") && of_this())
            .and_then(|value| range(value, length));
        let status = match &range {
            None => "200 OK",
            Some(range) if range.is_empty() => {
                let mut reply = Reply::error("416 Range Not Satisfiable");
                let _ = write!(reply.headers, "Content-Range: bytes */{length}\r\n");
                return Ok(reply);
            }
            Some(Range { start, end }) => {
                let last = end - 1;
                let _ = write!(headers, "Content-Range: bytes {start}-{last}/{length}\r\n");
                "206 Partial Content"
            }
        };
        let kind = mime_guess::from_path(&self.path).first_or_octet_stream();
        let charset = if kind.type_() == "text" { "; charset=utf-8" } else { "" };
        let _ = write!(headers, "Content-Type: {kind}{charset}\r\n");
        Ok(Reply { status, headers, body: Body::File(self.file, range.unwrap_or(0..length)) })
    }
}

fn moved_to(folder: &Path) -> Reply {
    let mut reply = Reply::error("301 Moved Permanently");
    reply.headers += "Location: /";
    for name in folder {
        let _ = write!(reply.headers, "{}/", percent_encode(name.as_encoded_bytes(), NAME));
    }
    reply.headers += "\r\n";
    reply
}

fn list(folder: &Path, path: &str) -> io::Result<Reply> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let end = if entry.file_type()?.is_dir() { "/" } else { "" };
        names.push((entry.file_name(), end));
    }
    names.sort();
    let title = escape(&percent_decode_str(path).decode_utf8_lossy());
    let mut page = format!("<!DOCTYPE html>\n<title>{title}</title>\n<h1>{title}</h1>\n<ul>\n");
    for (name, end) in names {
        let link = percent_encode(name.as_encoded_bytes(), NAME);
        let text = escape(&name.to_string_lossy());
        let _ = writeln!(page, "<li><a href=\"{link}{end}\">{text}{end}</a>");
    }
    page += "</ul>\n";
    let headers = "Content-Type: text/html; charset=utf-8\r\n".into();
    Ok(Reply { status: "200 OK", headers, body: Body::Text(page) })
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn headers<'a>(request: &'a Request<'_, '_>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let named = request.headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name));
    named.map(|header| header.value)
}

fn header<'a>(request: &'a Request<'_, '_>, name: &str) -> Option<&'a str> {
    headers(request, name).next().and_then(|value| str::from_utf8(value).ok())
}

/// Whether the request may be answered at all.
fn check(request: &Request<'_, '_>) -> Result<(), Reply> {
    let hosts = headers(request, "Host").count();
    let lengths = || headers(request, "Content-Length");
    if headers(request, "Transfer-Encoding").next().is_some() {
        return Err(Reply::error("501 Not Implemented"));
    }
    if hosts > 1
        || hosts == 0 && request.version == Some(1)
        || lengths().any(|length| number(length).is_none() || Some(length) != lengths().next())
    {
        return Err(Reply::error(BAD_REQUEST));
    }
    if !matches!(request.method, Some("GET" | "HEAD")) {
        let mut reply = Reply::error("405 Method Not Allowed");
        reply.headers += "Allow: GET, HEAD\r\n";
        return Err(reply);
    }
    Ok(())
}

/// Whether the connection goes on. It does not after a request with a body: nobody wants it, and
/// reading all of it would take longer than a new connection.
fn keeps_alive(request: &Request<'_, '_>) -> bool {
    let says = |token: &[u8]| {
        let mut tokens =
            headers(request, "Connection").flat_map(|value| value.split(|b| *b == b','));
        tokens.any(|t| t.trim_ascii().eq_ignore_ascii_case(token))
    };
    let has_body = headers(request, "Transfer-Encoding").next().is_some()
        || headers(request, "Content-Length").any(|length| length != b"0");
    !has_body && !says(b"close") && (request.version == Some(1) || says(b"keep-alive"))
}

/// The path of the requested URL, as it was sent.
fn path<'a>(request: &Request<'_, 'a>) -> Option<&'a str> {
    let target = request.path?.split(['?', '#']).next()?;
    if target.starts_with('/') {
        return Some(target);
    }
    // A proxy's form, with scheme and host.
    let (_, rest) = target.split_once("://")?;
    Some(rest.find('/').map_or("/", |slash| &rest[slash..]))
}

/// The file that a path means, relative to the root.
fn file_name(path: &str) -> io::Result<PathBuf> {
    let mut file_name = PathBuf::new();
    for name in path.split('/') {
        match &*Cow::from(percent_decode_str(name)) {
            b"" | b"." => {}
            // `..`, and what is hidden.
            name if name.starts_with(b".") || name.contains(&b'/') => {
                return Err(ErrorKind::NotFound.into());
            }
            name => file_name.push(system::name(name).ok_or(ErrorKind::NotFound)?),
        }
    }
    Ok(file_name)
}

/// What a `Range` header asks for. Empty if there is nothing of it; `None` if it is not understood
/// or asks for several ranges, both of which mean the whole.
fn range(value: &str, length: u64) -> Option<Range<u64>> {
    let (unit, range) = value.split_once('=')?;
    let (first, last) = range.split_once('-').filter(|_| unit.eq_ignore_ascii_case("bytes"))?;
    match (number(first.as_bytes()), number(last.as_bytes())) {
        (Some(first), Some(last)) if first <= last => {
            Some(first..last.saturating_add(1).min(length))
        }
        (Some(first), None) if last.is_empty() => Some(first..length),
        (None, Some(count)) if first.is_empty() => Some(length - count.min(length)..length),
        _ => None,
    }
}

/// One that is too large is as good as the largest.
fn number(digits: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(digits).ok()?;
    let valid = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    valid.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// What is not in std, or differs.
#[cfg(unix)]
mod system {
    use std::ffi::OsStr;
    use std::fs::File;
    use std::io;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{FileExt, OpenOptionsExt};
    use std::path::Path;

    pub(super) const NOTHING: &str = "/dev/null";

    pub(super) fn open(path: &Path) -> io::Result<File> {
        // A FIFO would wait for its other end, a terminal would become ours.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        File::options().read(true).custom_flags(flags).open(path)
    }

    pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        file.read_at(buffer, offset)
    }

    pub(super) fn name(bytes: &[u8]) -> Option<&OsStr> {
        Some(OsStr::from_bytes(bytes))
    }

    pub(super) fn is_exhausted(error: &io::Error) -> bool {
        matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
    }
}

#[cfg(windows)]
mod system {
    use std::fs::File;
    use std::io;
    use std::os::windows::fs::{FileExt, OpenOptionsExt};
    use std::path::Path;

    use windows_sys::Win32::Foundation::{ERROR_NO_SYSTEM_RESOURCES, ERROR_TOO_MANY_OPEN_FILES};
    use windows_sys::Win32::Storage::FileSystem::FILE_FLAG_BACKUP_SEMANTICS;

    pub(super) const NOTHING: &str = "NUL";

    pub(super) fn open(path: &Path) -> io::Result<File> {
        // Without it no folder can be opened.
        File::options().read(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)
    }

    pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        file.seek_read(buffer, offset)
    }

    /// Neither a path, nor a stream beside a file's content.
    pub(super) fn name(bytes: &[u8]) -> Option<&str> {
        str::from_utf8(bytes).ok().filter(|name| !name.contains(['\\', ':']))
    }

    pub(super) fn is_exhausted(error: &io::Error) -> bool {
        let code = error.raw_os_error().map(i32::cast_unsigned);
        matches!(code, Some(ERROR_TOO_MANY_OPEN_FILES | ERROR_NO_SYSTEM_RESOURCES))
    }
}
