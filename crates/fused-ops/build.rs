//! Sets `device_kernels` where the kernels for GPUs are compiled: Burn's `fusion` wraps their backend,
//! and merges elementwise operations itself.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(device_kernels)");
    println!("cargo::rerun-if-changed=build.rs");
    let on = |feature: &str| std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    if on("CUBE") && !on("FUSION") {
        println!("cargo::rustc-cfg=device_kernels");
    }
}
