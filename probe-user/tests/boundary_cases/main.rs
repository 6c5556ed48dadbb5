//! Request boundaries: what the tracker makes of the socket calls of real and hostile servers.

mod ends;
mod feed;
mod servers;
