//! The C functions. A device's handle is its index plus one; that of a MIG device has the place of its
//! instance in the upper bits.

use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::abi::{
    DRIVER_NOT_LOADED, FieldValue, INSUFFICIENT_SIZE, INVALID_ARGUMENT, NO_INSTANCE, NOT_FOUND,
    NOT_SUPPORTED, POWER_INSTANT, ProcessInfo, Return, SUCCESS, UNSIGNED_INT, UtilisationRates,
    UtilisationSample,
};
use crate::script::{Gpu, Instance};
use crate::state::{init, on_gpu, with};

/// Where the place of an instance begins in a handle.
const PLACE: u32 = 16;

/// Index of the GPU, and place of its instance plus one.
fn split(device: *mut c_void) -> (usize, usize) {
    let handle = device.addr();
    ((handle & 0xffff).wrapping_sub(1), handle >> PLACE)
}

fn code(result: Result<(), Return>) -> Return {
    result.err().unwrap_or(SUCCESS)
}

/// Writes a value where the caller wants it.
///
/// # Safety
/// `to` is null or valid for a write of `T`.
unsafe fn put<T>(to: *mut T, value: T) -> Result<(), Return> {
    if to.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: not null, and valid as the caller promised.
    unsafe { to.write(value) };
    Ok(())
}

/// Writes a text and its end.
///
/// # Safety
/// `to` is null or valid for `room` bytes.
unsafe fn put_text(to: *mut c_char, room: c_uint, text: &str) -> Result<(), Return> {
    if to.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    if text.len() >= room as usize {
        return Err(INSUFFICIENT_SIZE);
    }
    // SAFETY: the text and its end fit into the room that the caller promised.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr().cast(), to, text.len());
        to.add(text.len()).write(0);
    }
    Ok(())
}

/// Writes a list as NVML does: too little room only tells how much is needed.
///
/// # Safety
/// `count` is null or valid; `to` is null or valid for as many as `count` says.
unsafe fn put_list<T: Copy>(count: *mut c_uint, to: *mut T, list: &[T]) -> Result<(), Return> {
    if count.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    let needed = c_uint::try_from(list.len()).map_err(|_| INVALID_ARGUMENT)?;
    // SAFETY: not null, and valid as the caller promised.
    let room = unsafe { count.replace(needed) };
    if room < needed || (to.is_null() && needed > 0) {
        return Err(INSUFFICIENT_SIZE);
    }
    if needed > 0 {
        // SAFETY: the list fits into the room that the caller promised.
        unsafe { std::ptr::copy_nonoverlapping(list.as_ptr(), to, list.len()) };
    }
    Ok(())
}

/// The file this code was loaded from.
fn own_path() -> Option<PathBuf> {
    // SAFETY: an all-zero `Dl_info` is one of null pointers.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    let here = nvmlInit_v2 as *const c_void;
    // SAFETY: `info` is ours, and any address may be asked for.
    if unsafe { libc::dladdr(here, &raw mut info) } == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the loader's own text, which lives as long as the library.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    Some(OsStr::from_bytes(name.to_bytes()).into())
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> Return {
    code(own_path().ok_or(DRIVER_NOT_LOADED).and_then(|path| init(&path)))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlShutdown() -> Return {
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn nvmlErrorString(_: Return) -> *const c_char {
    c"an error of the stub".as_ptr()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetDriverVersion(to: *mut c_char, room: c_uint) -> Return {
    // SAFETY: as the header demands of the caller.
    code(with(|script, _| unsafe { put_text(to, room, &script.driver) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetCount_v2(to: *mut c_uint) -> Return {
    let count = |gpus: usize| c_uint::try_from(gpus).map_err(|_| INVALID_ARGUMENT);
    // SAFETY: as the header demands of the caller.
    code(with(|script, _| unsafe { put(to, count(script.gpus.len())?) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, to: *mut *mut c_void) -> Return {
    let handle = std::ptr::without_provenance_mut(index as usize + 1);
    let call = "nvmlDeviceGetHandleByIndex_v2";
    // SAFETY: as the header demands of the caller.
    code(on_gpu(index as usize, call, |_, _| unsafe { put(to, handle) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetName(
    device: *mut c_void,
    to: *mut c_char,
    room: c_uint,
) -> Return {
    let (index, place) = split(device);
    code(on_gpu(index, "nvmlDeviceGetName", |gpu, _| {
        let name = match instance(gpu, place)? {
            None => gpu.name.clone(),
            Some(i) => format!("{} MIG {}g.{}gb", gpu.name, i.slices, i.slices * 10),
        };
        // SAFETY: as the header demands of the caller.
        unsafe { put_text(to, room, &name) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetUUID(
    device: *mut c_void,
    to: *mut c_char,
    room: c_uint,
) -> Return {
    let (index, place) = split(device);
    let text = format!("GPU-00000000-0000-0000-0000-{place:04}{index:08}");
    // SAFETY: as the header demands of the caller.
    code(on_gpu(index, "nvmlDeviceGetUUID", |_, _| unsafe { put_text(to, room, &text) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetTotalEnergyConsumption(
    device: *mut c_void,
    to: *mut c_ulonglong,
) -> Return {
    let call = "nvmlDeviceGetTotalEnergyConsumption";
    // SAFETY: as the header demands of the caller.
    code(on_gpu(split(device).0, call, |gpu, t| unsafe { put(to, gpu.counter(t)) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetPowerUsage(device: *mut c_void, to: *mut c_uint) -> Return {
    let call = "nvmlDeviceGetPowerUsage";
    // SAFETY: as the header demands of the caller.
    code(on_gpu(split(device).0, call, |gpu, t| unsafe { put(to, gpu.average_mw(t)) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetFieldValues(
    device: *mut c_void,
    count: c_int,
    values: *mut FieldValue,
) -> Return {
    code(on_gpu(split(device).0, "nvmlDeviceGetFieldValues", |gpu, t| {
        let count = usize::try_from(count).map_err(|_| INVALID_ARGUMENT)?;
        if values.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        // SAFETY: not null, and as many as the header demands of the caller.
        for value in unsafe { std::slice::from_raw_parts_mut(values, count) } {
            value.code = NOT_SUPPORTED;
            if value.field == POWER_INSTANT && gpu.instant {
                (value.code, value.kind) = (SUCCESS, UNSIGNED_INT);
                value.value = u64::from((gpu.watts(t) * 1e3) as u32);
            }
        }
        Ok(())
    }))
}

/// The instance a handle stands for; `None`: the whole GPU.
fn instance(gpu: &Gpu, place: usize) -> Result<Option<Instance>, Return> {
    if place == 0 {
        return Ok(None);
    }
    let instances = gpu.mig.as_deref().ok_or(NOT_SUPPORTED)?;
    instances.get(place - 1).copied().map(Some).ok_or(INVALID_ARGUMENT)
}

/// # Safety
/// As [`put_list`].
unsafe fn processes(
    device: *mut c_void,
    call: &str,
    graphics: bool,
    count: *mut c_uint,
    to: *mut ProcessInfo,
) -> Return {
    let (index, place) = split(device);
    code(on_gpu(index, call, |gpu, _| {
        let within = instance(gpu, place)?;
        let here = |process: &&crate::Process| {
            process.graphics == graphics
                && within.is_none_or(|instance| process.instance == Some(instance.id))
        };
        let info = |process: &crate::Process| ProcessInfo {
            pid: process.pid,
            memory: 1 << 30,
            gpu_instance: process.instance.unwrap_or(NO_INSTANCE),
            compute_instance: process.instance.map_or(NO_INSTANCE, |_| 0),
        };
        let list: Vec<_> = gpu.processes.iter().filter(here).map(info).collect();
        // SAFETY: as the header demands of the caller.
        unsafe { put_list(count, to, &list) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    device: *mut c_void,
    count: *mut c_uint,
    to: *mut ProcessInfo,
) -> Return {
    // SAFETY: as the header demands of the caller.
    unsafe { processes(device, "nvmlDeviceGetComputeRunningProcesses_v3", false, count, to) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v2(
    device: *mut c_void,
    count: *mut c_uint,
    to: *mut ProcessInfo,
) -> Return {
    // SAFETY: as the header demands of the caller.
    unsafe { processes(device, "nvmlDeviceGetComputeRunningProcesses_v2", false, count, to) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetGraphicsRunningProcesses_v3(
    device: *mut c_void,
    count: *mut c_uint,
    to: *mut ProcessInfo,
) -> Return {
    // SAFETY: as the header demands of the caller.
    unsafe { processes(device, "nvmlDeviceGetGraphicsRunningProcesses_v3", true, count, to) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetProcessUtilization(
    device: *mut c_void,
    to: *mut UtilisationSample,
    count: *mut c_uint,
    last_seen_us: c_ulonglong,
) -> Return {
    code(on_gpu(split(device).0, "nvmlDeviceGetProcessUtilization", |gpu, t| {
        let every = gpu.utilisation_ms.filter(|_| gpu.mig.is_none()).ok_or(NOT_SUPPORTED)? / 1e3;
        // As on the wall clock: far from zero.
        let time_us = |p: &&crate::Process| {
            let after = p.sampled_after_ms / 1e3;
            let sampled = ((t - after) / every).floor() * every + after;
            1_700_000_000_000_000 + (sampled.max(0.0) * 1e6) as u64
        };
        let used = gpu.processes.iter().filter(|p| p.utilisation > 0 && time_us(p) > last_seen_us);
        let sample = |p: &crate::Process| UtilisationSample {
            pid: p.pid,
            time_us: time_us(&p),
            sm: p.utilisation,
            memory: p.utilisation / 2,
            encoder: 0,
            decoder: 0,
        };
        let list: Vec<_> = used.map(sample).collect();
        if list.is_empty() {
            return Err(NOT_FOUND);
        }
        // SAFETY: as the header demands of the caller.
        unsafe { put_list(count, to, &list) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetUtilizationRates(
    device: *mut c_void,
    to: *mut UtilisationRates,
) -> Return {
    code(on_gpu(split(device).0, "nvmlDeviceGetUtilizationRates", |gpu, _| {
        let gpu = gpu.busy_percent().ok_or(NOT_SUPPORTED)?;
        // SAFETY: as the header demands of the caller.
        unsafe { put(to, UtilisationRates { gpu, memory: gpu / 2 }) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMigMode(
    device: *mut c_void,
    current: *mut c_uint,
    pending: *mut c_uint,
) -> Return {
    code(on_gpu(split(device).0, "nvmlDeviceGetMigMode", |gpu, _| {
        let mode = c_uint::from(gpu.mig.is_some());
        // SAFETY: as the header demands of the caller.
        unsafe { put(current, mode).and_then(|()| put(pending, mode)) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMaxMigDeviceCount(
    device: *mut c_void,
    to: *mut c_uint,
) -> Return {
    let call = "nvmlDeviceGetMaxMigDeviceCount";
    // SAFETY: as the header demands of the caller.
    code(on_gpu(split(device).0, call, |_, _| unsafe { put(to, 7) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(
    device: *mut c_void,
    place: c_uint,
    to: *mut *mut c_void,
) -> Return {
    let (index, _) = split(device);
    code(on_gpu(index, "nvmlDeviceGetMigDeviceHandleByIndex", |gpu, _| {
        let instances = gpu.mig.as_deref().ok_or(NOT_SUPPORTED)?;
        let place = place as usize;
        instances.get(place).ok_or(NOT_FOUND)?;
        let handle = std::ptr::without_provenance_mut((place + 1) << PLACE | (index + 1));
        // SAFETY: as the header demands of the caller.
        unsafe { put(to, handle) }
    }))
}
