//! Models that earn promotion, through the binary: who is promoted, who is refused and by what, what is forced, what is
//! rolled back, and what a night that is killed in between leaves.

mod current;
mod monitoring;
mod promotion;
mod refusal;
mod report;
mod world;
