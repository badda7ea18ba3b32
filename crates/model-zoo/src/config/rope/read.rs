use super::{LongRopeScaling, RopeConfig, RopeScaling, YarnScaling};
use crate::config::reader::Reader;
use crate::{ConfigError, Family};

const ALLOWED: &str = "default, linear, dynamic, yarn, longrope, llama3";
const ORIGINAL: &str = "original_max_position_embeddings";

/// The section of layers that attend to everything, and of those within a sliding window.
const SECTIONS: [(&str, &str); 2] = [
    ("full_attention", "rope_parameters.full_attention."),
    ("sliding_attention", "rope_parameters.sliding_attention."),
];

/// Reads `rope_parameters` (transformers 5), or `rope_theta` and `rope_scaling` (before); with it
/// comes what layers with a sliding window have of their own.
pub(in crate::config) fn read(
    config: &Reader,
    family: Family,
    max_position_embeddings: usize,
) -> Result<(RopeConfig, Option<RopeConfig>), ConfigError> {
    let scaling = config.object("rope_scaling", "rope_scaling.")?;
    let parameters = config.object("rope_parameters", "rope_parameters.")?;
    let source = Source { config, family, max_position_embeddings };
    let Some(local_theta) = family.traits().local_rope_theta else {
        let section = scaling.filter(|section| !section.is_empty()).or(parameters);
        let theta = config.number("rope_theta")?.unwrap_or(family.traits().rope_theta);
        return Ok((source.rope(section.as_ref(), theta, section.as_ref())?, None));
    };
    let theta = config.number("rope_theta")?.unwrap_or(family.traits().rope_theta);
    let [full, sliding] = SECTIONS.map(|(key, prefix)| match &parameters {
        Some(parameters) => parameters.object(key, prefix),
        None => Ok(None),
    });
    let (full, sliding) = (full?, sliding?);
    // A section without kinds of layers is that of those which see everything.
    let nested = full.is_some() || sliding.is_some();
    let full = if nested { full } else { parameters };
    let rope = source.rope(full.as_ref(), theta, scaling.as_ref().or(full.as_ref()))?;
    let theta = config.number("rope_local_base_freq")?.unwrap_or(local_theta);
    let local = source.rope(sliding.as_ref(), theta, sliding.as_ref())?;
    Ok((rope, Some(local)))
}

/// What a section is read with.
struct Source<'a, 'b> {
    config: &'a Reader<'b>,
    family: Family,
    max_position_embeddings: usize,
}

impl Source<'_, '_> {
    /// The base and the part of a head from `section`, where it has them, and the scaling from
    /// another.
    fn rope(
        &self,
        section: Option<&Reader>,
        theta: f64,
        scaling: Option<&Reader>,
    ) -> Result<RopeConfig, ConfigError> {
        let number = |key: &str| match section {
            Some(section) => section.number(key),
            None => Ok(None),
        };
        let (key, fraction) = ("partial_rotary_factor", number("partial_rotary_factor")?);
        if !self.family.traits().partial_rotary {
            let refused = |reader: &Reader, fraction: Option<f64>| match fraction {
                Some(part) if part != 1.0 => {
                    Err(reader.unsupported(key, &part.to_string(), "1 in this family"))
                }
                _ => Ok(()),
            };
            section.map_or(Ok(()), |section| refused(section, fraction))?;
            refused(self.config, self.config.number(key)?)?;
        }
        let fraction = match fraction {
            Some(fraction) => fraction,
            None => self.config.number(key)?.unwrap_or(1.0),
        };
        Ok(RopeConfig {
            theta: number("rope_theta")?.unwrap_or(theta),
            partial_rotary_factor: fraction,
            scaling: match scaling {
                Some(section) => self.scaling(section)?,
                None => RopeScaling::Default,
            },
        })
    }

    fn scaling(&self, section: &Reader) -> Result<RopeScaling, ConfigError> {
        let kind = match section.text("rope_type")? {
            Some(kind) => kind,
            None => section.text("type")?.unwrap_or("default"),
        };
        // Only models with several kinds of layers have one section for each.
        if let Some(key) = section.object_keys().next() {
            return Err(section.unsupported(key, "an object", "one section for all layers"));
        }
        let required = |key: &str| section.required(key, section.number(key)?);
        let numbers = |key: &str| section.required(key, section.numbers(key)?);
        let kind = match (kind, self.family) {
            ("su" | "yarn", Family::Phi3) => "longrope",
            (kind, _) => kind,
        };
        Ok(match kind {
            "default" => RopeScaling::Default,
            "linear" => RopeScaling::Linear { factor: required("factor")? },
            "dynamic" => RopeScaling::Dynamic { factor: required("factor")? },
            "yarn" => RopeScaling::Yarn(YarnScaling {
                factor: section.number("factor")?,
                original_max_position_embeddings: self.original(section)?,
                attention_factor: section.number("attention_factor")?,
                // 0 means the default too.
                beta_fast: section.number("beta_fast")?.filter(|n| *n != 0.0).unwrap_or(32.0),
                beta_slow: section.number("beta_slow")?.filter(|n| *n != 0.0).unwrap_or(1.0),
                mscale: section.number("mscale")?,
                mscale_all_dim: section.number("mscale_all_dim")?,
                truncate: section.boolean("truncate")?.unwrap_or(true),
            }),
            "longrope" => RopeScaling::LongRope(LongRopeScaling {
                short_factor: numbers("short_factor")?,
                long_factor: numbers("long_factor")?,
                original_max_position_embeddings: self.original(section)?,
                factor: section.number("factor")?,
                attention_factor: section.number("attention_factor")?,
            }),
            "llama3" => RopeScaling::Llama3 {
                factor: required("factor")?,
                low_freq_factor: required("low_freq_factor")?,
                high_freq_factor: required("high_freq_factor")?,
                original_max_position_embeddings: self.original(section)?,
            },
            other => return Err(section.unsupported("rope_type", other, ALLOWED)),
        })
    }

    /// The length of pretraining: beside the section it comes first, as in transformers.
    fn original(&self, section: &Reader) -> Result<usize, ConfigError> {
        let outside = match self.config.size(ORIGINAL)? {
            None if self.family == Family::Phi3 => Some(4096),
            given => given,
        };
        let within = section.size(ORIGINAL)?;
        Ok(outside.or(within).unwrap_or(self.max_position_embeddings))
    }
}
