//! The shell of `scorehouse query`, at a terminal of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::small::{self, two_days};
use crate::support::{World, scorehouse};

const PROMPT: &str = "scorehouse> ";
const PATIENCE: Duration = Duration::from_secs(120);

/// A shell under way: somebody types, and reads the screen.
struct Terminal {
    child: Child,
    keys: File,
    screen: Arc<Mutex<String>>,
    /// Up to where the screen was read.
    read: usize,
}

impl Terminal {
    fn open(world: &World, arguments: &[&str]) -> Terminal {
        let (mut keyboard, mut terminal) = (0, 0);
        let size = libc::winsize { ws_row: 50, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: openpty fills two integers that we own, and reads a size that we own.
        let opened =
            unsafe { libc::openpty(&mut keyboard, &mut terminal, std::ptr::null_mut(), std::ptr::null_mut(), &size) };
        assert_eq!(opened, 0, "no pseudo-terminal");
        // SAFETY: both were just opened, and belong to nobody else.
        let (keys, terminal) = unsafe { (File::from_raw_fd(keyboard), OwnedFd::from_raw_fd(terminal)) };
        let mut command = scorehouse(arguments);
        command.arg("--raw").arg(world.raw()).arg("--lake").arg(world.lake());
        command.env("TERM", "xterm").env("XDG_STATE_HOME", state(world)).env("THE_PII_KEY", "hunter22-hunter22");
        command.stdin(terminal.try_clone().unwrap()).stdout(terminal.try_clone().unwrap()).stderr(terminal);
        // SAFETY: both calls may be made between fork and exec, and touch no memory.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            })
        };
        let child = command.spawn().unwrap();
        drop(command); // It holds the terminal's other end.
        let screen = Arc::new(Mutex::new(String::new()));
        let (mut eyes, seen) = (keys.try_clone().unwrap(), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = eyes.read(&mut bytes) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        });
        Terminal { child, keys, screen, read: 0 }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Types a line, and waits for this on the screen, and until the shell is ready again.
    #[track_caller]
    fn line(&mut self, line: &str, shows: &str) -> String {
        self.press(&format!("{line}\r"));
        self.expect(shows) + &self.expect(PROMPT)
    }

    /// As [`Self::line`], of one that shows nothing.
    #[track_caller]
    fn quiet(&mut self, line: &str) {
        self.line(line, "\n");
    }

    /// What came on the screen since the last time, up to this.
    #[track_caller]
    fn expect(&mut self, shows: &str) -> String {
        let begin = Instant::now();
        loop {
            if let Some(text) = self.has(shows) {
                return text;
            }
            let left = self.screen.lock().unwrap()[self.read..].to_string();
            assert!(begin.elapsed() < PATIENCE, "no {shows:?} on the screen:\n{left}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn has(&mut self, shows: &str) -> Option<String> {
        let screen = self.screen.lock().unwrap();
        let at = screen[self.read..].find(shows)? + shows.len();
        let text = screen[self.read..self.read + at].to_string();
        self.read += at;
        Some(text)
    }

    /// Presses a key now and then, until this is on the screen.
    #[track_caller]
    fn press_until(&mut self, key: &str, shows: &str) {
        let begin = Instant::now();
        while self.has(shows).is_none() {
            assert!(begin.elapsed() < PATIENCE, "no {shows:?} on the screen:\n{}", self.screen.lock().unwrap());
            self.press(key);
            std::thread::sleep(Duration::from_millis(700));
        }
    }

    fn ended(mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if begin.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                panic!("the shell did not end:\n{}", self.screen.lock().unwrap());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn state(world: &World) -> PathBuf {
    world.dir.path().join("state")
}

fn world() -> World {
    let world = small::world();
    two_days(&world);
    world.job("ingest", "2024-02-29").ok();
    world
}

#[test]
fn somebody_asks_and_asks_again() {
    let world = world();
    let mut shell = Terminal::open(&world, &["query"]);
    shell.expect(PROMPT);
    let answer = shell.line("select 40 + 2 as answer;", "| 42 ");
    assert!(answer.contains("(1 row)"), "{answer}");
    // A statement of several lines.
    shell.line("select 40 +\r  3 as multi;", "| 43 ");
    shell.line("select nonsense from pay;", "error: ");
    shell.line("drop table pay;", "only reads");
    shell.line("\\nonsense", "no command");
    shell.line("\\d", "runs");
    let columns = shell.line("\\d tables.pay", "comment");
    for said in ["_known_from", "amount", "decimal(18,2)", "paid_at", "timestamp", "not null"] {
        assert!(columns.contains(said), "{said}: {columns}");
    }
    shell.line("\\timing", "Timing is on");
    shell.line("select 1 as one;", "Time: ");
    shell.quiet("\\format json");
    shell.line("select 40 + 4 as answer;", "{\"answer\":44}");
    shell.quiet("\\format csv");
    let file = world.dir.path().join("rows.csv");
    shell.quiet(&format!("\\o {}", file.display()));
    shell.line("select id from pay order by id limit 2;", "2 rows to ");
    shell.line("select 45 as more;", "1 row to ");
    shell.quiet("\\o");
    shell.line("select 46 as here;", "46");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "id\np1\np2\nmore\n45\n");
    shell.press("\\q\r");
    assert_eq!(shell.ended().code(), Some(0));
}

#[test]
fn ctrl_c_ends_a_query_and_not_the_shell() {
    let world = world();
    let mut shell = Terminal::open(&world, &["query"]);
    shell.expect(PROMPT);
    // A line that is given up.
    shell.press("select 1 from\x03");
    shell.expect(PROMPT);
    shell.press("with recursive n as (select 1 as i union all select i + 1 from n) select count(*) from n;\r");
    std::thread::sleep(Duration::from_secs(1));
    shell.press_until("\x03", "cancelled");
    shell.line("select 40 + 7 as answer;", "| 47 ");
    shell.press("\x04");
    assert_eq!(shell.ended().code(), Some(0), "Ctrl-D leaves");
}

#[test]
fn names_are_completed_and_lines_remembered_but_for_secrets() {
    let world = world();
    let profile = world.dir.path().join("profile.yaml");
    std::fs::write(&profile, "lake: l\nraw: r\npii_key: THE_PII_KEY\n").unwrap();
    let profile = profile.display().to_string();
    let mut shell = Terminal::open(&world, &["query", "--profile", &profile, "--format", "csv"]);
    shell.expect(PROMPT);
    // Names are learned while the user types.
    shell.press("select 1 from manif");
    shell.press_until("\t", "est");
    shell.press("\x03");
    shell.expect(PROMPT);
    shell.line("select 40 + 1 as remembered;", "41");
    shell.line("select 'hunter22-hunter22' as value_of_the_key;", "value_of_the_key\r\n");
    shell.line("select 'a' as api_token;", "api_token\r\n");
    shell.line(" select 'b' as spaced;", "spaced\r\n");
    shell.line("\\nohistory", "Nothing is remembered");
    shell.line("select 'c' as afterwards;", "afterwards\r\n");
    shell.press("\x04");
    assert_eq!(shell.ended().code(), Some(0));
    let file = state(&world).join("scorehouse/query_history");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("remembered"), "{text}");
    for secret in ["hunter22", "api_token", "spaced", "afterwards"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // The next session has the line: one step back from an empty one.
    let mut shell = Terminal::open(&world, &["query", "--profile", &profile]);
    shell.expect(PROMPT);
    shell.press("\x1b[A");
    shell.expect("nohistory");
    shell.press("\x1b[A\r");
    shell.expect("| 41 ");
    shell.expect(PROMPT);
    shell.press("\x04");
    assert_eq!(shell.ended().code(), Some(0));
}
