//! One file per job: its arguments, then one call into `pipeline`.
