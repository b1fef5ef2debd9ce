//! A fitted linear probe as a safetensors file, for export into other networks.
//!
//! Tensors: `weight` `[C, D]` and `bias` `[C]` for scaled features, and where features are
//! standardised `mean` and `deviation` `[D]`; all f64. Metadata: `classes` (JSON list),
//! `activation` (`softmax`, `sigmoid`), `scale` (`standard`, `l2`, `none`), `fit` (JSON, how the
//! fit went). Scores are `weight · scaled + bias`, probabilities the activation of them.

use std::path::Path;

use ndarray::{Array1, Array2};

use crate::error::{FileError, Result};
use crate::probe::linear_model::LinearModel;
use crate::probe::scale::Scaler;
use crate::probe::{Activation, Scale};
use crate::tensor::{HostTensor, safetensors};

impl LinearModel {
    /// Writes the probe, replacing an older one atomically; `classes` are the names of its outputs.
    ///
    /// # Errors
    /// `FileError` when the file cannot be written.
    pub fn to_safetensors(&self, path: &Path, classes: &[String]) -> Result<()> {
        let coefficients = self.coefficients();
        let shape = coefficients.shape().to_vec();
        let mut tensors = safetensors::Tensors::new();
        if let Some(weight) = HostTensor::from_vec(shape, coefficients.iter().copied().collect::<Vec<f64>>()) {
            tensors.insert("weight".into(), weight);
        }
        tensors.insert("bias".into(), HostTensor::vector(self.intercepts().to_vec()));
        if self.scaler().scale() == Scale::Standard {
            tensors.insert("mean".into(), HostTensor::vector(self.scaler().mean().to_vec()));
            tensors.insert("deviation".into(), HostTensor::vector(self.scaler().deviation().to_vec()));
        }
        let activation = match self.activation() {
            Activation::Softmax => "softmax",
            Activation::Sigmoid => "sigmoid",
        };
        let scale = match self.scaler().scale() {
            Scale::Standard => "standard",
            Scale::L2 => "l2",
            Scale::None => "none",
        };
        let metadata = [
            ("activation", activation.to_owned()),
            ("classes", serde_json::Value::from(classes.to_vec()).to_string()),
            ("fit", serde_json::to_string(&self.report()).unwrap_or_default()),
            ("scale", scale.to_owned()),
        ];
        safetensors::write(path, &tensors, &metadata.map(|(key, value)| (key.to_owned(), value)).into())
    }

    /// Reads a probe that [`LinearModel::to_safetensors`] wrote, and the names of its outputs.
    ///
    /// # Errors
    /// `ModelError::Malformed` for a damaged file, [`FileError::Parse`] for one that holds no
    /// linear probe.
    pub fn from_safetensors(path: &Path) -> Result<(LinearModel, Vec<String>)> {
        let (tensors, metadata) = safetensors::read(path)?;
        let refused = |source: Box<dyn std::error::Error + Send + Sync>| FileError::Parse {
            path: path.to_path_buf(),
            format: "linear probe",
            source,
        };
        let text = |key: &str| metadata.get(key).ok_or_else(|| refused(format!("it does not tell its `{key}`").into()));
        let json = |error: serde_json::Error| refused(error.into());
        let classes: Vec<String> = serde_json::from_str(text("classes")?).map_err(json)?;
        let report = serde_json::from_str(text("fit")?).map_err(json)?;
        let activation = match text("activation")?.as_str() {
            "softmax" => Activation::Softmax,
            "sigmoid" => Activation::Sigmoid,
            other => return Err(refused(format!("the activation `{other}` is not known").into()).into()),
        };
        let scale: Scale = serde_json::from_value(text("scale")?.as_str().into()).map_err(json)?;
        let dimension = tensors.get("weight").and_then(|weight| weight.shape().get(1).copied()).unwrap_or_default();
        let values = |name: &str, shape: &[usize]| {
            let tensor = tensors.get(name).filter(|tensor| tensor.shape() == shape);
            let values = tensor.and_then(|tensor| Some(tensor.values::<f64>()?.into_owned()));
            values.ok_or_else(|| refused(format!("`{name}` is not f64 {shape:?}").into()))
        };
        let weight = values("weight", &[classes.len(), dimension])?;
        let weight =
            Array2::from_shape_vec((classes.len(), dimension), weight).map_err(|error| refused(error.into()))?;
        let bias = Array1::from(values("bias", &[classes.len()])?);
        let scaler = match scale {
            Scale::Standard => Scaler::stored(scale, values("mean", &[dimension])?, values("deviation", &[dimension])?),
            Scale::L2 | Scale::None => Scaler::stored(scale, Vec::new(), Vec::new()),
        };
        Ok((LinearModel::stored(scaler, weight, bias, activation, report), classes))
    }
}

#[cfg(test)]
mod tests {
    use linfa::DatasetBase;
    use linfa::traits::Fit;
    use ndarray::array;

    use super::*;
    use crate::probe::linear_params::LinearParams;

    #[test]
    fn scores_from_the_file_give_the_model_s_probabilities() {
        let features = array![[0.0f32, 1.0], [1.0, 3.0], [4.0, 0.0], [5.0, 1.0], [2.0, 9.0]];
        let model = LinearParams::new().fit(&DatasetBase::new(features.clone(), array![0usize, 0, 2, 2, 1])).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("linear.safetensors");
        model.to_safetensors(&path, &["a".into(), "b".into(), "c".into()]).unwrap();
        let (tensors, metadata) = safetensors::read(&path).unwrap();
        let values = |name: &str| tensors[name].values::<f64>().unwrap().to_vec();
        let (weight, bias, mean, deviation) = (values("weight"), values("bias"), values("mean"), values("deviation"));
        let expected = model.probabilities(features.view()).unwrap();
        for (row, expected) in features.rows().into_iter().zip(expected.rows()) {
            let scaled: Vec<f64> = (0..2).map(|j| (f64::from(row[j]) - mean[j]) / deviation[j]).collect();
            let scores: Vec<f64> =
                (0..3).map(|k| (bias[k] + weight[2 * k] * scaled[0] + weight[2 * k + 1] * scaled[1]).exp()).collect();
            let total: f64 = scores.iter().sum();
            assert!(scores.iter().zip(expected).all(|(score, p)| (score / total - p).abs() < 1e-6));
        }
        assert_eq!(
            LinearModel::from_safetensors(&path).unwrap(),
            (model, vec!["a".to_owned(), "b".to_owned(), "c".to_owned()])
        );
        assert_eq!(metadata["classes"], r#"["a","b","c"]"#);
        assert_eq!((metadata["activation"].as_str(), metadata["scale"].as_str()), ("softmax", "standard"));
    }
}
