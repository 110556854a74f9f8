//! Matrices, encoders, models, metrics, artifacts. The only user of `lightgbm3`.
