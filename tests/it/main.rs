//! The one integration binary: every further one would link DataFusion and LightGBM again.

mod bad_input;
mod house;
mod night;
mod pit;
mod plan;
mod point_in_time;
mod real_data;
mod small;
mod support;
