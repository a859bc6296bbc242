//! Free space: what no space's extents take. It is derived from the catalog, never kept, so that a
//! crash can neither leak extents nor give them out twice.

use super::catalog::{Catalog, Extent};
use crate::error::PoolError;
use crate::limits::EXTENT_GRANULE_BYTES;
use crate::stripe::Geometry;

/// Extents are multiples of this: of 1 MiB, rounded up to whole stripes, so that new extents can be
/// zeroed without reading and no two spaces share a stripe.
pub fn granule_bytes(geometry: Geometry) -> u64 {
    EXTENT_GRANULE_BYTES.next_multiple_of(geometry.stripe_bytes())
}

/// The free runs of a pool of `size_bytes`, in order.
pub fn free_runs(catalog: &Catalog, size_bytes: u64) -> Vec<Extent> {
    let mut taken: Vec<_> = catalog.spaces.values().flatten().copied().collect();
    taken.sort_unstable();
    let mut free = Vec::new();
    let mut at = 0;
    for extent in taken.into_iter().chain([Extent { offset_bytes: size_bytes, length_bytes: 0 }]) {
        if extent.offset_bytes > at {
            free.push(Extent { offset_bytes: at, length_bytes: extent.offset_bytes - at });
        }
        at = extent.end_bytes();
    }
    free
}

/// Takes `length_bytes`, whole granules, out of `free`: what directly follows `after` first, then
/// the first run that holds all, then whatever there is from the start on. `None` where there is
/// not enough.
pub fn allocate(free: &[Extent], length_bytes: u64, after: Option<u64>) -> Option<Vec<Extent>> {
    if free.iter().map(|run| run.length_bytes).sum::<u64>() < length_bytes {
        return None;
    }
    let mut order: Vec<_> = free.iter().copied().filter(|run| run.length_bytes > 0).collect();
    let follows = |run: &Extent| Some(run.offset_bytes) == after;
    let fits = |run: &Extent| run.length_bytes >= length_bytes;
    let first = order.iter().position(follows).or_else(|| order.iter().position(fits));
    if let Some(first) = first {
        let first = order.remove(first);
        order.insert(0, first);
    }
    let mut wanted = length_bytes;
    let mut taken = Vec::new();
    for run in order {
        let length_bytes = run.length_bytes.min(wanted);
        if length_bytes == 0 {
            break;
        }
        wanted -= length_bytes;
        taken.push(Extent { length_bytes, ..run });
    }
    Some(taken)
}

/// Puts extents at the end of a list, joined with its last one where they touch.
pub fn append(list: &mut Vec<Extent>, more: &[Extent]) {
    for extent in more {
        match list.last_mut() {
            Some(last) if last.end_bytes() == extent.offset_bytes => {
                last.length_bytes += extent.length_bytes;
            }
            _ => list.push(*extent),
        }
    }
}

/// Whether the extents lie inside the pool, on granules, and apart from each other.
pub fn check(catalog: &Catalog, size_bytes: u64, granule_bytes: u64) -> Result<(), PoolError> {
    let mut taken: Vec<_> =
        catalog.spaces.iter().flat_map(|(id, list)| list.iter().map(|one| (*one, *id))).collect();
    taken.sort_unstable();
    let mut end = 0;
    for (extent, id) in taken {
        let aligned = extent.offset_bytes.is_multiple_of(granule_bytes)
            && extent.length_bytes.is_multiple_of(granule_bytes);
        let inside = extent
            .offset_bytes
            .checked_add(extent.length_bytes)
            .is_some_and(|end| end <= size_bytes);
        if !aligned || !inside || extent.length_bytes == 0 || extent.offset_bytes < end {
            let text = format!("the catalog gives space {} an impossible extent: {extent:?}", id.0);
            return Err(PoolError::Damaged(text));
        }
        end = extent.end_bytes();
    }
    let next = catalog.spaces.keys().next_back().map_or(0, |last| last.0 + 1);
    if catalog.next_space < next {
        return Err(PoolError::Damaged("the catalog would use a space's number again".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::catalog::SpaceId;
    use super::*;

    fn extent(offset_bytes: u64, length_bytes: u64) -> Extent {
        Extent { offset_bytes, length_bytes }
    }

    #[test]
    fn growth_continues_where_the_space_ends_else_takes_the_first_fit() {
        let free = [extent(0, 1), extent(5, 4), extent(20, 2)];
        assert_eq!(allocate(&free, 2, Some(20)), Some(vec![extent(20, 2)]));
        assert_eq!(allocate(&free, 3, Some(20)), Some(vec![extent(20, 2), extent(0, 1)]));
        assert_eq!(allocate(&free, 2, None), Some(vec![extent(5, 2)]));
        assert_eq!(allocate(&free, 6, None).map(|taken| taken.len()), Some(3));
        assert_eq!(allocate(&free, 8, None), None);
        assert_eq!(allocate(&free, 0, None), Some(vec![]));
    }

    proptest! {
        #[test]
        fn random_allocations_and_deletions_never_overlap_or_leak(
            steps in prop::collection::vec((0..6u64, 0..12u64), 1..60)
        ) {
            const SIZE: u64 = 64;
            let mut catalog = Catalog::new("p");
            for (space, length) in steps {
                let id = SpaceId(space);
                catalog.next_space = catalog.next_space.max(space + 1);
                if length == 0 {
                    catalog.spaces.remove(&id);
                } else {
                    let list = catalog.spaces.get(&id).cloned().unwrap_or_default();
                    let after = list.last().map(|last| last.end_bytes());
                    if let Some(more) = allocate(&free_runs(&catalog, SIZE), length, after) {
                        append(catalog.spaces.entry(id).or_default(), &more);
                    }
                }
                prop_assert_eq!(check(&catalog, SIZE, 1), Ok(()));
                let taken: u64 =
                    catalog.spaces.values().flatten().map(|one| one.length_bytes).sum();
                let free: u64 = free_runs(&catalog, SIZE).iter().map(|one| one.length_bytes).sum();
                prop_assert_eq!(taken + free, SIZE);
            }
        }
    }

    #[test]
    fn overlaps_and_strays_are_damage() {
        for list in
            [vec![extent(0, 2), extent(1, 1)], vec![extent(63, 2)], vec![extent(u64::MAX, 2)]]
        {
            let mut catalog = Catalog::new("p");
            catalog.next_space = 9;
            catalog.spaces.insert(SpaceId(1), list);
            assert!(check(&catalog, 64, 1).is_err());
        }
    }
}
