//! A weight matrix in the form that candle multiplies fastest on this CPU.
//!
//! Candle has tiled kernels for 8-bit weights on CPUs with integer dot products (VNNI), which read
//! a weight once for four rows: the gain of batching. They want the inner dimension in whole
//! blocks of 256, so a matrix that lacks a few columns gets columns of zeros, and so do its inputs.

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{D, Device, Module, Result, Tensor};

/// Inner dimension of candle's tiled kernels.
const TILE: usize = 256;

/// A matrix `[out, in]` that multiplies rows of `in` numbers.
pub struct Linear {
    weight: QMatMul,
    /// Columns of zeros beyond the real ones.
    padding: usize,
}

impl Linear {
    /// Takes a matrix as it comes from a file or a generator. Types without a fast kernel become
    /// 8-bit, which loses nothing of types with fewer bits.
    ///
    /// # Errors
    /// When the tensor is no matrix or cannot be requantised.
    pub fn new(tensor: QTensor) -> Result<Self> {
        use GgmlDType::{Q4_0, Q4K, Q5K, Q6K, Q8_0};
        let (_, columns) = tensor.shape().dims2()?;
        let lacking = columns.next_multiple_of(TILE) - columns;
        let keep = match tensor.dtype() {
            Q4K | Q6K => true,
            Q8_0 => lacking == 0 || !tiled(),
            Q4_0 | Q5K => !tiled(),
            _ => false,
        };
        if keep {
            return Ok(Self { weight: QMatMul::from_qtensor(tensor)?, padding: 0 });
        }
        let padding = if tiled() { lacking } else { 0 };
        let wide = tensor.dequantize(&Device::Cpu)?.pad_with_zeros(1, 0, padding)?;
        let weight = QMatMul::from_qtensor(QTensor::quantize(&wide, Q8_0)?)?;
        Ok(Self { weight, padding })
    }

    /// Multiplies `[rows, in]` to `[rows, out]`.
    ///
    /// # Errors
    /// When the widths differ.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if self.padding == 0 {
            return self.weight.forward(x);
        }
        self.weight.forward(&x.pad_with_zeros(D::Minus1, 0, self.padding)?)
    }
}

/// Whether this CPU runs candle's tiled 8-bit kernels.
fn tiled() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni");
        wide || (is_x86_feature_detected!("avxvnni") && is_x86_feature_detected!("avx2"))
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn random(rows: usize, columns: usize) -> Tensor {
        let mut rng = Rng::new(1);
        let data: Vec<f32> = (0..rows * columns).map(|_| rng.normal()).collect();
        Tensor::from_vec(data, (rows, columns), &Device::Cpu).unwrap()
    }

    /// Largest difference from the exact product, in units of a typical entry.
    fn error(columns: usize, kind: GgmlDType) -> f32 {
        let (w, x) = (random(32, columns), random(3, columns));
        let tensor = QTensor::quantize(&w, kind).unwrap();
        let exact = x.matmul(&tensor.dequantize(&Device::Cpu).unwrap().t().unwrap()).unwrap();
        let got = Linear::new(tensor).unwrap().forward(&x).unwrap();
        assert_eq!(got.dims(), [3, 32]);
        let worst = (got - exact).unwrap().abs().unwrap().max_all().unwrap();
        worst.to_scalar::<f32>().unwrap() / (columns as f32).sqrt()
    }

    #[test]
    fn products_are_right_with_and_without_padding_and_after_requantising() {
        for columns in [64, 256, 576] {
            for kind in [GgmlDType::Q8_0, GgmlDType::Q4_0, GgmlDType::Q4_1, GgmlDType::F32] {
                let error = error(columns, kind);
                assert!(error < 0.05, "{columns} columns of {kind:?}: {error}");
            }
        }
    }
}
