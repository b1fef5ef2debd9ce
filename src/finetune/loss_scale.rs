//! The factor on the loss that keeps gradients within the range of 16-bit floats (Micikevicius et
//! al. 2018, arXiv 1710.03740).
//!
//! It is halved, and the step taken again, where a gradient overflows, and doubled after many steps
//! without; both as PyTorch's `GradScaler`, which skips such a step instead. Running statistics of
//! batch norms that are updated count its batch each time.

use crate::tensor::HostTensor;

/// Name of the input that is the factor, and of its state.
pub(super) const LOSS_SCALE: &str = "loss_scale";

const FIRST: f32 = 65_536.0;
const LARGEST: f32 = 16_777_216.0;
/// Steps without overflow behind which the factor grows.
const INTERVAL: u16 = 2000;

/// The factor, and the steps since it last changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LossScale {
    pub(super) factor: f32,
    steps: u16,
}

impl Default for LossScale {
    fn default() -> Self {
        LossScale { factor: FIRST, steps: 0 }
    }
}

impl LossScale {
    /// Halves the factor; false where it is 1 already, and an overflow has another cause.
    pub(super) fn lower(&mut self) -> bool {
        let lowers = self.factor > 1.0;
        if lowers {
            *self = LossScale { factor: self.factor / 2.0, steps: 0 };
        }
        lowers
    }

    /// A step has been taken.
    pub(super) fn taken(&mut self) {
        self.steps += 1;
        if self.steps >= INTERVAL {
            *self = LossScale { factor: (self.factor * 2.0).min(LARGEST), steps: 0 };
        }
    }

    /// As a checkpoint keeps it.
    pub(super) fn to_tensor(self) -> HostTensor {
        HostTensor::vector(vec![self.factor, f32::from(self.steps)])
    }

    /// As a checkpoint kept it; the first one where it kept none.
    pub(super) fn of_tensor(tensor: Option<&HostTensor>) -> Self {
        let values = tensor.and_then(HostTensor::values::<f32>);
        match values.as_deref() {
            Some(&[factor, steps]) => LossScale { factor, steps: steps as u16 },
            _ => LossScale::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_falls_to_one_and_grows_after_many_steps() {
        let mut scale = LossScale::default();
        let halvings = std::iter::from_fn(|| scale.lower().then_some(())).count();
        assert_eq!((halvings, scale.factor), (16, 1.0));
        (0..INTERVAL - 1).for_each(|_| scale.taken());
        assert_eq!(LossScale::of_tensor(Some(&scale.to_tensor())), scale);
        assert_eq!(scale.factor, 1.0);
        scale.taken();
        assert_eq!(scale, LossScale { factor: 2.0, steps: 0 });
        assert_eq!(LossScale::of_tensor(None), LossScale::default());
    }
}
