//! What one machine offers without any provider: the register in a file, private database servers, and loopback
//! addresses that nobody else uses.

pub mod lab_number;
pub mod mariadb;
pub mod register_file;
pub mod register_remote;
pub mod scratch;
