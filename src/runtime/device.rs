//! Where a model runs: `auto`, `cpu`, `cuda` or `cuda:N`.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, RuntimeError};

/// A device to run models on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// The first CUDA device if it works, otherwise the CPU;
    /// [`Session::device`](super::Session::device) tells which.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of this number, and nothing else: where it cannot be used, opening a session
    /// fails.
    Cuda(u32),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Auto => f.write_str("auto"),
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "auto" => Ok(Device::Auto),
            "cpu" => Ok(Device::Cpu),
            "cuda" => Ok(Device::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|number| number.parse().ok())
                // ONNX Runtime counts devices with a signed 32-bit integer.
                .filter(|&number: &u32| i32::try_from(number).is_ok())
                .map(Device::Cuda)
                .ok_or_else(|| RuntimeError::UnknownDevice { text: text.to_owned() }.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for (text, device) in
            [("auto", Device::Auto), ("cpu", Device::Cpu), ("cuda:0", Device::Cuda(0)), ("cuda:3", Device::Cuda(3))]
        {
            assert_eq!(text.parse::<Device>().unwrap(), device);
            assert_eq!(device.to_string(), text);
        }
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(0));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:4294967295", "CPU"] {
            let error = text.parse::<Device>().unwrap_err();
            assert_eq!(error.kind(), crate::error::Kind::Input, "{text}");
        }
    }
}
