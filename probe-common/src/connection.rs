//! Watched connections and the TLS sessions on them.

/// A watched connection: key is [`ConnKey`].
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Conn {
    /// Unique for the life of the probe.
    pub id: u64,
    /// Bytes received so far.
    pub rx: u64,
    /// Bytes sent so far.
    pub tx: u64,
    /// Consumer index of the target that accepted it.
    pub who: u32,
    /// Process that accepted it.
    pub tgid: u32,
    /// The kernel's `sock`; 0: not looked up yet.
    pub sock: u64,
}

/// A watched connection, as the hooks know it: at system calls by process and file descriptor, at the kernel's socket
/// functions by the socket itself.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnKey(u64);

impl ConnKey {
    /// A process's file descriptor.
    #[must_use]
    pub const fn descriptor(tgid: u32, fd: i32) -> Self {
        Self(((tgid as u64) << 32) | fd as u32 as u64)
    }

    /// A socket's inode number.
    #[must_use]
    pub const fn socket(inode: u64) -> Self {
        Self(inode)
    }

    /// The process, of a key that is a [`Self::descriptor`].
    #[must_use]
    pub const fn tgid(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// What a function of a TLS library that is hooked does; the value that user space hands over with each hook.
#[repr(u64)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsHook {
    /// `SSL_read`: says how much in its result.
    Read = 0,
    /// `SSL_read_ex`: says whether in its result, how much in what its fourth argument points to.
    ReadEx = 1,
    /// `SSL_write`, as `Read`.
    Write = 2,
    /// `SSL_write_ex`, as `ReadEx`.
    WriteEx = 3,
    /// `SSL_do_handshake`: moves no plaintext, but belongs to a connection.
    Handshake = 4,
    /// `SSL_set_connect_state`: the session is of a client, so of no connection that is watched.
    Connect = 5,
    /// `SSL_free`: the session is over.
    Free = 6,
}

/// A TLS session of a process: the library's `SSL`.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// Its address; 0: none.
    pub ssl: u64,
    /// Process.
    pub tgid: u32,
    /// Padding.
    pub _pad: u32,
}

/// What is known of a TLS session; key is [`SessionKey`].
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Session {
    /// [`Conn::id`] of its connection; 0: it is of none.
    pub conn: u64,
    /// Plaintext bytes received so far.
    pub rx: u64,
    /// Plaintext bytes sent so far.
    pub tx: u64,
}

/// A call of a TLS function that has not returned.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionCallKey {
    /// Process in the upper half, thread in the lower.
    pub thread: u64,
    /// [`TlsHook`] without its `_ex` form: a read may shake hands.
    pub what: u64,
}
