//! What one machine offers without any provider.

pub mod register_file;
pub mod register_remote;
