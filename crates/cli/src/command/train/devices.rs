use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Error, Result, anyhow, bail};
use lora_moe::device::parse_device;
use lora_moe::ranks::{Ranks, ThreadRanks};

use crate::args::TrainArgs;
use crate::interrupt::Interrupt;

/// Trains over ranks that are threads of this process, each on a device of its own.
pub fn run(args: &TrainArgs, devices: &[String], interrupt: &Interrupt) -> Result<()> {
    check(devices)?;
    over(devices, Duration::from_secs(args.rank_timeout), |device, ranks| {
        super::rank(args, device, interrupt, ranks)
    })
}

/// Does the same on each device. An error names the rank that failed first.
fn over(
    devices: &[String],
    limit: Duration,
    work: impl Fn(&str, &dyn Ranks) -> Result<()> + Sync,
) -> Result<()> {
    // The others of a rank that fails fail after it, when it is gone.
    let first: Mutex<Option<(usize, Error)>> = Mutex::new(None);
    let said = ThreadRanks::run(devices.len(), limit, |ranks| {
        let rank = ranks.rank();
        // What it panics with has been said.
        let result = catch_unwind(AssertUnwindSafe(|| work(&devices[rank], &ranks)))
            .unwrap_or_else(|_| Err(anyhow!("an internal error, see above")));
        let error = result.err()?;
        let said = error.to_string();
        first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((rank, error));
        Some(said)
    });
    match first.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => Ok(()),
        // Where all end for one reason no rank is at fault.
        Some((_, error)) if said.iter().all(|of| of.as_ref() == Some(&error.to_string())) => {
            Err(error)
        }
        Some((rank, error)) => {
            Err(error.context(format!("rank {rank} of {}, on {}", devices.len(), devices[rank])))
        }
    }
}

/// Refuses a GPU that two ranks would share: its generator of random numbers would be of both.
fn check(devices: &[String]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for device in devices {
        parse_device(device)?;
        let name = match device.as_str() {
            "flex" => continue,
            name if name.contains(':') => name.to_owned(),
            name => format!("{name}:0"),
        };
        if !seen.insert(name) {
            bail!(
                "--devices {}: {device} is there twice; each rank needs a GPU of its own",
                devices.join(",")
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_is_no_device_is_refused() {
        assert!(check(&names(&["flex", "flex", "flex"])).is_ok());
        let error = check(&names(&["flex", "gpu"])).unwrap_err().to_string();
        assert!(error.contains("gpu"), "{error}");
    }

    #[test]
    fn the_rank_that_failed_is_named_not_those_that_lost_it() {
        let devices = names(&["flex", "flex", "cuda:1"]);
        let fails = |how: fn() -> Result<()>| {
            let error = over(&devices, Duration::from_secs(60), |device, ranks| {
                if device == "cuda:1" {
                    how()?;
                }
                Ok(ranks.barrier()?)
            });
            format!("{:#}", error.unwrap_err())
        };
        let error = fails(|| bail!("no memory is left"));
        assert_eq!(error, "rank 2 of 3, on cuda:1: no memory is left");
        let error = fails(|| panic!("a mistake"));
        assert_eq!(error, "rank 2 of 3, on cuda:1: an internal error, see above");
        let error = over(&devices, Duration::from_secs(60), |_, _| bail!("no such file"));
        assert_eq!(format!("{:#}", error.unwrap_err()), "no such file");
    }
}
