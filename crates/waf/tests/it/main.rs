//! The engine over whole requests: what it catches, what it lets through, and how it judges.

mod attacks;
mod harness;
mod legitimate;
mod robust;
mod semantics;
