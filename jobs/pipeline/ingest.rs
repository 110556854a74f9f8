//! stub
use super::job::Job;
pub struct R {
    pub source: String,
    pub written: u64,
    pub bytes: u64,
    pub seconds: f64,
    pub files: u64,
    pub read: u64,
    pub duplicate: u64,
    pub quarantined: u64,
    pub version: Option<u64>,
}
impl R {
    pub fn status(&self) -> String {
        String::new()
    }
}
pub async fn run(_job: &Job) -> crate::error::Result<Vec<R>> {
    Ok(vec![])
}
