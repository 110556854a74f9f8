//! Synthetic events of a marketplace with a pay-later arm.
