//! DataFusion sessions, point-in-time features, sequences.
