use cubecl::prelude::*;

/// The sum of a value over the units of a cube, for all of them. `units`, a power of two, is their
/// number.
#[cube]
pub(super) fn cube_sum(value: f32, #[comptime] units: usize) -> f32 {
    let unit = UNIT_POS as usize;
    let mut shared = Shared::<[f32]>::new_slice(units);
    shared[unit] = value;
    sync_cube();
    let mut active = (units / 2).runtime();
    while active > 0 {
        if unit < active {
            shared[unit] = shared[unit] + shared[unit + active];
        }
        sync_cube();
        active /= 2;
    }
    let total = shared[0];
    // Before anyone writes there again.
    sync_cube();
    total
}

/// The largest value over the units of a cube, as [`cube_sum`].
#[cube]
pub(super) fn cube_max(value: f32, #[comptime] units: usize) -> f32 {
    let unit = UNIT_POS as usize;
    let mut shared = Shared::<[f32]>::new_slice(units);
    shared[unit] = value;
    sync_cube();
    let mut active = (units / 2).runtime();
    while active > 0 {
        if unit < active {
            shared[unit] = max(shared[unit], shared[unit + active]);
        }
        sync_cube();
        active /= 2;
    }
    let largest = shared[0];
    sync_cube();
    largest
}
