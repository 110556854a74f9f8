//! A proxy between job and server that does what networks and busy servers do, where and as often as it is told.
//!
//! A thread per connection: it reads a request whole, decides, passes it on and passes the answer back. It counts what
//! passes, so that a test may also ask how often a night asks for what.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::wire::{self, Message};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 503 SlowDown; the server never sees it.
    SlowDown,
    /// No answer at all until the client gives up; the server never sees it.
    Silence,
    /// The connection is reset when half of the request has come.
    ResetRequest,
    /// The server answers; the connection is reset in the middle of the answer's body.
    ResetAnswer,
    /// The answer comes drop by drop, within the client's patience.
    Slow,
    /// The server does it, and nobody is told: the connection is reset.
    Lost,
    /// The server does it, and the client is told to slow down: its next try meets the first one.
    LostThenSlowDown,
}

/// Which requests, and how many of them: from the `from`-th match on, `times` of them.
#[derive(Debug, Clone)]
pub struct Rule {
    pub method: &'static str,
    pub text: String,
    pub from: usize,
    pub times: usize,
    pub fault: Fault,
}

impl Rule {
    pub fn new(fault: Fault, method: &'static str, text: &str) -> Rule {
        Rule { method, text: text.into(), from: 0, times: 1, fault }
    }

    pub fn times(self, times: usize) -> Rule {
        Rule { times, ..self }
    }

    pub fn from(self, from: usize) -> Rule {
        Rule { from, ..self }
    }
}

#[derive(Default)]
struct Seen {
    rules: Vec<(Rule, usize)>,
    /// A fault for about one request in so many, drawn by a generator of this state.
    chance: Option<(u64, u64)>,
    requests: Vec<String>,
    faults: Vec<(Fault, String)>,
}

pub struct Proxy {
    pub endpoint: String,
    seen: Arc<Mutex<Seen>>,
    ended: Arc<AtomicBool>,
}

impl Proxy {
    /// In front of a server's address.
    pub fn new(server: &str, rules: Vec<Rule>) -> Proxy {
        Self::start(server, Seen { rules: rules.into_iter().map(|rule| (rule, 0)).collect(), ..Seen::default() })
    }

    /// With a fault of any kind for about one request in `in_so_many`.
    pub fn by_chance(server: &str, seed: u64, in_so_many: u64) -> Proxy {
        Self::start(server, Seen { chance: Some((seed, in_so_many)), ..Seen::default() })
    }

    fn start(server: &str, seen: Seen) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let proxy = Proxy { endpoint, seen: Arc::new(Mutex::new(seen)), ended: Arc::default() };
        let (server, seen, ended) = (server.to_string(), proxy.seen.clone(), proxy.ended.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let (server, seen, client) = (server.clone(), seen.clone(), client.unwrap());
                // A connection that breaks is the point of it all.
                std::thread::spawn(move || drop(connection(client, &server, &seen)));
            }
        });
        proxy
    }

    /// Method, path and query of every request that came.
    pub fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().requests.clone()
    }

    /// How many requests of each kind came: method, and what kind of object it was about.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        self.requests().iter().for_each(|line| *counts.entry(kind(line)).or_default() += 1);
        counts
    }

    /// What was done to which request.
    pub fn faults(&self) -> Vec<(Fault, String)> {
        self.seen.lock().unwrap().faults.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.endpoint.trim_start_matches("http://"));
    }
}

impl Seen {
    fn decide(&mut self, request: &Message) -> Option<Fault> {
        let line = request.line().trim_end_matches(" HTTP/1.1").to_string();
        self.requests.push(line.clone());
        let fault = self.by_rule(&line).or_else(|| self.drawn(request))?;
        self.faults.push((fault, line));
        Some(fault)
    }

    fn by_rule(&mut self, line: &str) -> Option<Fault> {
        for (rule, matched) in &mut self.rules {
            if line.starts_with(rule.method) && line.contains(&rule.text) {
                *matched += 1;
                if *matched > rule.from && *matched <= rule.from.saturating_add(rule.times) {
                    return Some(rule.fault);
                }
            }
        }
        None
    }

    fn drawn(&mut self, request: &Message) -> Option<Fault> {
        use Fault::*;
        let (state, in_so_many) = self.chance.as_mut()?;
        // Steele, Lea, Flood: Fast splittable pseudorandom number generators (OOPSLA 2014).
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        if !z.is_multiple_of(*in_so_many) {
            return None;
        }
        let faults = [SlowDown, ResetRequest, ResetAnswer, Slow, Lost, LostThenSlowDown, Silence];
        let drawn = faults[(z >> 32) as usize % faults.len()];
        // A request without a body has no middle.
        Some(if drawn == ResetRequest && request.body.is_empty() { Lost } else { drawn })
    }
}

/// `GET log entry`, `PUT data file`, `LIST` …
fn kind(line: &str) -> String {
    let (method, target) = line.split_once(' ').unwrap_or((line, ""));
    let of = |text: &str| target.contains(text);
    let what = match () {
        () if of("list-type=2") && of("_delta_log") => return "LIST log".into(),
        () if of("list-type=2") => return "LIST other".into(),
        () if of("?delete") => "objects",
        () if of("_last_checkpoint") => "_last_checkpoint",
        () if of(".checkpoint") => "checkpoint",
        () if of("_delta_log/") => "log entry",
        () if of("/raw/") => "raw file",
        () if of(".parquet") => "data file",
        () if of("/running/") => "note",
        () => "file of a model",
    };
    format!("{method} {what}")
}

const SLOW_DOWN: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
    <Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";

fn connection(client: TcpStream, server: &str, seen: &Mutex<Seen>) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let upstream = TcpStream::connect(server)?;
    upstream.set_nodelay(true)?;
    let mut from_client = BufReader::new(client.try_clone()?);
    let mut from_server = BufReader::new(upstream.try_clone()?);
    let (mut client, mut upstream) = (client, upstream);
    while let Some(request) = wire::request(&mut from_client)? {
        let fault = seen.lock().unwrap().decide(&request);
        match fault {
            Some(Fault::SlowDown) => {
                slow_down(&mut client)?;
                continue;
            }
            Some(Fault::Silence) => {
                // The client closes when it has waited long enough.
                let _ = wire::request(&mut from_client);
                return Ok(());
            }
            Some(Fault::ResetRequest) => {
                upstream.write_all(&request.head)?;
                upstream.write_all(&request.body[..request.body.len() / 2])?;
                upstream.shutdown(Shutdown::Both)?;
                return reset(&client);
            }
            _ => {}
        }
        upstream.write_all(&request.head)?;
        upstream.write_all(&request.body)?;
        let Some(answer) = wire::answer(&mut from_server, &request)? else { return reset(&client) };
        match fault {
            Some(Fault::Lost) => return reset(&client),
            Some(Fault::LostThenSlowDown) => {
                slow_down(&mut client)?;
                continue;
            }
            Some(Fault::ResetAnswer) => {
                client.write_all(&answer.head)?;
                client.write_all(&answer.body[..answer.body.len() / 2])?;
                std::thread::sleep(Duration::from_millis(20));
                return reset(&client);
            }
            Some(Fault::Slow) => {
                for drop in
                    [&answer.head, &answer.body].iter().flat_map(|part| part.chunks(part.len().div_ceil(8).max(1)))
                {
                    client.write_all(drop)?;
                    std::thread::sleep(Duration::from_millis(25));
                }
                continue;
            }
            _ => {}
        }
        client.write_all(&answer.head)?;
        client.write_all(&answer.body)?;
        if answer.has("connection") {
            return Ok(());
        }
    }
    Ok(())
}

fn slow_down(client: &mut TcpStream) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n",
        SLOW_DOWN.len()
    );
    client.write_all(head.as_bytes())?;
    client.write_all(SLOW_DOWN)
}

/// Closes with a RST rather than in good order.
fn reset(client: &TcpStream) -> std::io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = std::mem::size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the option's value is a struct of that size, which lives until the call returns.
    unsafe {
        libc::setsockopt(client.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size);
    }
    Ok(())
}
