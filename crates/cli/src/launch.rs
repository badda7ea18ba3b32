use std::time::Duration;

use anyhow::{Result, bail};
use lora_moe::ranks::{Alone, Ranks};

/// How this process was started: alone, or as one of several ranks.
pub enum Launch {
    /// Alone.
    Alone,
    /// By `mpirun` or `srun`.
    #[cfg(feature = "mpi")]
    Mpi(Box<lora_moe::ranks::MpiRanks>),
}

/// Variables by which launchers say how many processes they started: Open MPI's, and those of MPICH
/// and of SLURM's PMI.
const SIZES: [&str; 2] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"];

impl Launch {
    /// Joins the other ranks, where there are any. One that does not come within `limit` is an error.
    pub fn join(limit: Duration) -> Result<Self> {
        match started(|name| std::env::var(name).ok()) {
            0 | 1 => Ok(Self::Alone),
            processes => Self::several(processes, limit),
        }
    }

    #[cfg(feature = "mpi")]
    fn several(processes: usize, limit: Duration) -> Result<Self> {
        let ranks = lora_moe::ranks::MpiRanks::init(limit, |error| {
            eprintln!("error: {error}");
            std::process::exit(1);
        })?;
        if ranks.size() != processes {
            bail!(
                "{processes} processes were started, but MPI knows of {}: start them by the \
                 mpirun of the MPI that this build was linked with",
                ranks.size()
            );
        }
        Ok(Self::Mpi(Box::new(ranks)))
    }

    #[cfg(not(feature = "mpi"))]
    fn several(processes: usize, _limit: Duration) -> Result<Self> {
        bail!(
            "started as one of {processes} processes, but this build cannot connect them; build it \
             with `--features mpi`, or start one process"
        );
    }

    /// The ranks.
    pub fn ranks(&self) -> &dyn Ranks {
        match self {
            Self::Alone => &Alone,
            #[cfg(feature = "mpi")]
            Self::Mpi(ranks) => &**ranks,
        }
    }

    /// The device of this rank: of the GPUs of a machine each rank has its own, unless `device` names
    /// one.
    pub fn device(&self, device: &str) -> String {
        match self {
            #[cfg(feature = "mpi")]
            Self::Mpi(ranks) if device != "flex" && !device.contains(':') => {
                format!("{device}:{}", ranks.local_rank())
            }
            _ => device.to_owned(),
        }
    }

    /// Ends the other ranks too, where there are any, after this one has failed.
    pub fn fail(&self, _code: u8) {
        #[cfg(feature = "mpi")]
        if let Self::Mpi(ranks) = self {
            ranks.abort(_code);
        }
    }
}

/// How many processes were started together; 0 where nothing says so.
fn started(variable: impl Fn(&str) -> Option<String>) -> usize {
    let number = |name: &str| variable(name)?.trim().parse::<usize>().ok();
    // `srun --mpi=pmix` tells the number of processes by a variable that batch jobs have too.
    let pmix = || variable("PMIX_RANK").and_then(|_| number("SLURM_NTASKS"));
    SIZES.into_iter().find_map(number).or_else(pmix).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::started;

    #[test]
    fn launchers_are_known_by_their_variables() {
        let size = |set: &[(&str, &str)]| {
            let set: Vec<(String, String)> =
                set.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            started(|name| set.iter().find(|(of, _)| of == name).map(|(_, value)| value.clone()))
        };
        assert_eq!(size(&[]), 0);
        assert_eq!(size(&[("OMPI_COMM_WORLD_SIZE", "4")]), 4);
        assert_eq!(size(&[("PMI_SIZE", "2")]), 2);
        assert_eq!(size(&[("SLURM_NTASKS", "8")]), 0, "a batch job that calls it once");
        assert_eq!(size(&[("SLURM_NTASKS", "8"), ("PMIX_RANK", "3")]), 8);
    }
}
