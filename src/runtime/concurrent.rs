//! One session run by several threads at once, on the CPU: weights are in memory once, however many
//! threads compute.
//!
//! ONNX Runtime says of its `Run` that threads may call it on one session without further locks,
//! and its CPU provider keeps to that; `ort` asks for exclusive access because some providers do
//! not. This module is the one place that calls it past `ort`, and for the CPU only.

use std::ffi::CString;
use std::ptr::NonNull;

use ort::AsPointer as _;
use ort::value::DynValue;

use crate::error::{Result, RuntimeError};
use crate::runtime::session::run_options;
use crate::runtime::{Device, Session, WorkingMemory, value};
use crate::tensor::HostTensor;

impl Session {
    /// Runs the model as [`Session::run`] does, also while other threads run it; for sessions on
    /// the CPU.
    ///
    /// # Errors
    /// As [`Session::run`]; [`RuntimeError::Run`] for a session on another device.
    pub fn run_shared(&self, inputs: &[(&str, &HostTensor)], outputs: &[&str]) -> Result<Vec<HostTensor>> {
        if self.device() != Device::Cpu {
            let reason = format!("sessions on {} take one caller at a time", self.device());
            return Err(RuntimeError::Run { reason }.into());
        }
        self.check_inputs(inputs)?;
        let wanted = self.wanted(outputs)?;
        let c_name = |name: &str| CString::new(name).map_err(|error| RuntimeError::Run { reason: error.to_string() });
        let input_names = inputs.iter().map(|(name, _)| c_name(name)).collect::<Result<Vec<CString>, _>>()?;
        let output_names = wanted.iter().map(|name| c_name(name)).collect::<Result<Vec<CString>, _>>()?;
        let values = inputs.iter().map(|(_, tensor)| value::borrowed(tensor)).collect::<Result<Vec<_>>>()?;
        let options = match self.memory {
            WorkingMemory::Shrink => Some(run_options(self.memory, self.device())?),
            WorkingMemory::Keep | WorkingMemory::Release => None,
        };
        let input_pointers: Vec<_> = values.iter().map(|value| value.ptr()).collect();
        let input_name_pointers: Vec<_> = input_names.iter().map(|name| name.as_ptr()).collect();
        let output_name_pointers: Vec<_> = output_names.iter().map(|name| name.as_ptr()).collect();
        let mut results = vec![std::ptr::null_mut(); wanted.len()];
        #[expect(unsafe_code, reason = "`ort` runs a session for one caller at a time only")]
        // SAFETY: names and values are as many as stated and live until the call returns; the CPU
        // provider may be run by several threads at once; each result is a new value that its
        // `DynValue` owns.
        let results: Vec<Option<DynValue>> = unsafe {
            let status = (ort::api().Run)(
                self.session.ptr().cast_mut(),
                options.as_ref().map_or(std::ptr::null(), |options| options.ptr()),
                input_name_pointers.as_ptr(),
                input_pointers.as_ptr(),
                input_pointers.len(),
                output_name_pointers.as_ptr(),
                output_name_pointers.len(),
                results.as_mut_ptr(),
            );
            ort::Error::result_from_status(status)
                .map_err(|error| RuntimeError::Run { reason: value::reason(&error) })?;
            let own =
                |result| NonNull::new(result).map(|result| DynValue::from_ptr(result, Some(self.session.allocator())));
            results.into_iter().map(own).collect()
        };
        let mut tensors = Vec::with_capacity(wanted.len());
        for (name, result) in wanted.iter().zip(results) {
            let missing = || RuntimeError::Run { reason: format!("it gave no output `{name}`") };
            tensors.push(value::into_host(name, result.ok_or_else(missing)?)?);
        }
        Ok(tensors)
    }
}
