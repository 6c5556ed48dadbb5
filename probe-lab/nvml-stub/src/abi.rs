//! The structures and codes of `nvml.h` (NVML 12) that the stub exchanges with its caller.

use std::ffi::{c_longlong, c_uint, c_ulonglong};

/// `nvmlReturn_t`.
pub(crate) type Return = c_uint;

pub(crate) const SUCCESS: Return = 0;
pub(crate) const INVALID_ARGUMENT: Return = 2;
/// The device cannot do that.
pub const NOT_SUPPORTED: u32 = 3;
/// The caller may not do that.
pub const NO_PERMISSION: u32 = 4;
pub(crate) const NOT_FOUND: Return = 6;
pub(crate) const INSUFFICIENT_SIZE: Return = 7;
pub(crate) const DRIVER_NOT_LOADED: Return = 9;
/// The device fell off the bus.
pub const GPU_IS_LOST: u32 = 15;

/// No GPU instance.
pub(crate) const NO_INSTANCE: c_uint = c_uint::MAX;
/// `NVML_FI_DEV_POWER_INSTANT`.
pub(crate) const POWER_INSTANT: c_uint = 186;
/// `NVML_VALUE_TYPE_UNSIGNED_INT`.
pub(crate) const UNSIGNED_INT: c_uint = 1;

/// `nvmlProcessInfo_t`, as of version 2 of the calls.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ProcessInfo {
    pub(crate) pid: c_uint,
    pub(crate) memory: c_ulonglong,
    pub(crate) gpu_instance: c_uint,
    pub(crate) compute_instance: c_uint,
}

/// `nvmlProcessUtilizationSample_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct UtilisationSample {
    pub(crate) pid: c_uint,
    pub(crate) time_us: c_ulonglong,
    pub(crate) sm: c_uint,
    pub(crate) memory: c_uint,
    pub(crate) encoder: c_uint,
    pub(crate) decoder: c_uint,
}

/// `nvmlUtilization_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct UtilisationRates {
    pub(crate) gpu: c_uint,
    pub(crate) memory: c_uint,
}

/// `nvmlFieldValue_t`.
#[repr(C)]
pub(crate) struct FieldValue {
    pub(crate) field: c_uint,
    pub(crate) scope: c_uint,
    pub(crate) time_us: c_longlong,
    pub(crate) latency_us: c_longlong,
    pub(crate) kind: c_uint,
    pub(crate) code: Return,
    /// A union of 8 bytes.
    pub(crate) value: u64,
}

const _: () = {
    assert!(size_of::<ProcessInfo>() == 24);
    assert!(size_of::<UtilisationSample>() == 32);
    assert!(size_of::<FieldValue>() == 40);
    assert!(size_of::<UtilisationRates>() == 8);
};
