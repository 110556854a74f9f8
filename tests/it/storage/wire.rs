//! HTTP/1.1 as far as a proxy must understand it: where a message's head ends, and where its body does.

use std::io::{BufRead, BufReader, Read, Result};
use std::net::TcpStream;

/// A request or an answer, bytes as they came.
pub struct Message {
    pub head: Vec<u8>,
    pub body: Vec<u8>,
}

impl Message {
    /// The first line.
    pub fn line(&self) -> String {
        String::from_utf8_lossy(&self.head).lines().next().unwrap_or_default().to_string()
    }

    fn header(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.head).to_string();
        let found = text.lines().filter_map(|line| line.split_once(':')).find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().to_string())
    }

    pub fn has(&self, name: &str) -> bool {
        self.header(name).is_some()
    }
}

/// The next request; `None` where the other side has closed.
pub fn request(from: &mut BufReader<TcpStream>) -> Result<Option<Message>> {
    let Some(mut message) = head(from)? else { return Ok(None) };
    body(from, &mut message, false)?;
    Ok(Some(message))
}

/// The answer to a request.
pub fn answer(from: &mut BufReader<TcpStream>, to: &Message) -> Result<Option<Message>> {
    let Some(mut message) = head(from)? else { return Ok(None) };
    let status = message.line().split(' ').nth(1).and_then(|s| s.parse::<u16>().ok()).unwrap_or_default();
    if !to.line().starts_with("HEAD ") && ![204, 304].contains(&status) {
        body(from, &mut message, true)?;
    }
    Ok(Some(message))
}

fn head(from: &mut BufReader<TcpStream>) -> Result<Option<Message>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if from.read_until(b'\n', &mut head)? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(Message { head, body: Vec::new() }))
}

fn body(from: &mut BufReader<TcpStream>, message: &mut Message, until_closed: bool) -> Result<()> {
    if message.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return chunks(from, &mut message.body);
    }
    match message.header("content-length").and_then(|length| length.parse().ok()) {
        Some(length) => {
            message.body = vec![0; length];
            from.read_exact(&mut message.body)
        }
        None if until_closed => from.read_to_end(&mut message.body).map(drop),
        None => Ok(()),
    }
}

/// Chunks with their lengths, as they came.
fn chunks(from: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> Result<()> {
    loop {
        let mut line = Vec::new();
        from.read_until(b'\n', &mut line)?;
        let length = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).unwrap_or_default();
        body.extend_from_slice(&line);
        let mut chunk = vec![0; length + 2];
        from.read_exact(&mut chunk)?;
        body.extend_from_slice(&chunk);
        if length == 0 {
            return Ok(());
        }
    }
}
