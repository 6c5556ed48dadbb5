//! Where messages begin and end, by the tracker and by hyper, which is another reading of RFC 9112 by other
//! people: the same requests, the same responses, the same last bytes.

mod by_hyper;
mod by_tracker;
mod malformed;
mod messages;
mod pipe;
