//! What one machine offers without any provider: the register in a file, private servers (databases, etcd), and
//! loopback addresses that nobody else uses.

pub mod etcd;
pub mod lab_number;
pub mod mariadb;
mod program;
pub mod register_file;
pub mod register_remote;
pub mod scratch;
pub mod scratch_etcd;
