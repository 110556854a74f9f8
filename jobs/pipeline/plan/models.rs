//! Models in a plan: who is to be trained, and why.

use super::{Line, Way};
use crate::error::Result;
use crate::pipeline::job::Job;
use crate::pipeline::registry;
use crate::pipeline::train::{Due, due};

pub async fn plan(job: &Job) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for model in job.project.models.values() {
        let history = registry::history(job, &model.name).await?;
        let (way, why) = match due(model, history.champion(), job.date) {
            Due::Yes(why) => (Way::Due, why),
            Due::No(why) => (Way::NotDue, why),
        };
        lines.push(Line::new("train", format!("models/{}", model.name), way, why));
    }
    Ok(lines)
}
