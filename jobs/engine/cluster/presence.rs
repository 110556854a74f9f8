//! Whether anybody is there to compute: Ballista itself queues a job until an executor comes, for ever.

use std::time::{Duration, Instant};

use reqwest::Client;
use tokio::time::sleep;

use crate::clock;
use crate::error::{Error, Result};

/// How long a job waits while the scheduler has no executor.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the scheduler is asked, and how long it may think.
const EVERY: Duration = Duration::from_secs(2);

/// Waits until the scheduler at this URL has an executor.
///
/// # Errors
/// Temporary: there was none for a minute.
pub async fn awaited(scheduler: &str) -> Result<()> {
    let asked = Asked::new(scheduler)?;
    let since = clock::instant();
    while !asked.ready().await {
        asked.patience(since)?;
        sleep(EVERY).await;
    }
    Ok(())
}

/// Ends when the scheduler at this URL has had no executor for a minute, and never otherwise.
pub async fn missed(scheduler: &str) -> Error {
    let asked = match Asked::new(scheduler) {
        Ok(asked) => asked,
        Err(error) => return error,
    };
    let mut seen = clock::instant();
    loop {
        sleep(EVERY).await;
        if asked.ready().await {
            seen = clock::instant();
        } else if let Err(error) = asked.patience(seen) {
            return error;
        }
    }
}

struct Asked<'a> {
    scheduler: &'a str,
    client: Client,
}

impl Asked<'_> {
    fn new(scheduler: &str) -> Result<Asked<'_>> {
        let client = Client::builder().timeout(EVERY).no_proxy().build();
        let client = client.map_err(|e| Error::internal("no HTTP client can be made").caused_by(e))?;
        Ok(Asked { scheduler, client })
    }

    /// What the scheduler tells whoever looks after it: 200 with an executor alive, 503 without.
    async fn ready(&self) -> bool {
        let answer = self.client.get(format!("{}/readyz", self.scheduler)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    fn patience(&self, since: Instant) -> Result<()> {
        if since.elapsed() < PATIENCE {
            return Ok(());
        }
        let (scheduler, seconds) = (self.scheduler, PATIENCE.as_secs());
        let help = "start one: scorehouse ballista executor --profile …";
        Err(Error::temporary(format!(
            "the scheduler at {scheduler} has had no executor for {seconds} s\n  help: {help}"
        )))
    }
}
