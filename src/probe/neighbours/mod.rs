//! Exact nearest neighbours by inner product: blocks of matrix products give upper bounds of
//! similarities, and only what these do not rule out is computed.
//!
//! In: bank `[N, D]` and queries `[Q, D]`, f32, rows of unit length for cosine similarity. Out: for
//! each query the k bank rows of largest similarity in falling order, equal ones in the order of
//! the bank. A similarity is the f32 inner product of two rows, summed in one fixed order whatever
//! the processor, the number of threads and the way it was found. Memory beyond that is one block
//! per thread and, where it pays, the bank's short vectors (see [`bound`]).

mod bound;
mod choice;
mod directions;
mod guess;
mod largest;
mod search;

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use bound::Bound;
use guess::Sample;
use search::Search;

/// Queries of one block, at most.
const QUERIES: usize = 512;
/// Blocks that few queries are divided into, so that all cores have some.
const MIN_BLOCKS: usize = 8;

/// The nearest bank rows of each query.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours {
    /// `[Q, k]` positions in the bank, nearest first.
    pub positions: Array2<u32>,
    /// `[Q, k]` similarities, falling.
    pub similarities: Array2<f32>,
}

/// The `k` rows of `bank: [N, D]` with the largest inner product with each row of `queries: [Q,
/// D]`; `k` is at most N. Similarities that are not a number come last.
///
/// The result depends on neither the number of threads nor the other queries' values.
pub fn nearest(bank: ArrayView2<'_, f32>, queries: ArrayView2<'_, f32>, k: usize) -> Neighbours {
    let k = k.min(bank.nrows());
    if k == 0 || queries.nrows() == 0 {
        let shape = (queries.nrows(), k);
        return Neighbours { positions: Array2::zeros(shape), similarities: Array2::zeros(shape) };
    }
    let (bank, queries) = (bank.as_standard_layout(), queries.as_standard_layout());
    let sample = Sample::new(bank.view(), k);
    let directions = choice::directions(bank.view(), queries.view(), &sample);
    let whole = Bound::whole(bank.view());
    let bound = match &directions {
        Some(directions) => Bound::leading(bank.view(), directions.view(), whole.longest()),
        None => whole,
    };
    let search = Search { bank: bank.view(), bound: &bound, sample: &sample, k };
    neighbours(&search, queries.view())
}

/// Looks for the neighbours of all queries, in blocks.
fn neighbours(search: &Search<'_>, queries: ArrayView2<'_, f32>) -> Neighbours {
    let shape = (queries.nrows(), search.k);
    let (mut positions, mut similarities) = (Array2::zeros(shape), Array2::zeros(shape));
    let block = queries.nrows().div_ceil(MIN_BLOCKS).next_multiple_of(16).min(QUERIES);
    let outputs = positions.axis_chunks_iter_mut(Axis(0), block).zip(similarities.axis_chunks_iter_mut(Axis(0), block));
    let blocks: Vec<_> = queries.axis_chunks_iter(Axis(0), block).zip(outputs).collect();
    blocks.into_par_iter().for_each(|(queries, (mut positions, mut similarities))| {
        let outputs = positions.rows_mut().into_iter().zip(similarities.rows_mut());
        for (found, (mut positions, mut similarities)) in search.nearest(queries).into_iter().zip(outputs) {
            for (found, output) in found.into_iter().zip(positions.iter_mut().zip(&mut similarities)) {
                (*output.1, *output.0) = found;
            }
        }
    });
    Neighbours { positions, similarities }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// By computing and sorting all similarities.
    fn by_sorting(bank: &Array2<f32>, queries: &Array2<f32>, k: usize) -> Neighbours {
        let shape = (queries.nrows(), k);
        let (mut positions, mut similarities) = (Array2::zeros(shape), Array2::zeros(shape));
        let all: Vec<u32> = (0..bank.nrows() as u32).collect();
        for (query, row) in queries.rows().into_iter().enumerate() {
            let mut found = Vec::new();
            search::inner_products(row.to_slice().unwrap(), bank.as_slice().unwrap(), &all, &mut found);
            let mut ranked: Vec<(f32, u32)> = found.into_iter().zip(0..).collect();
            let rank = |similarity: f32| if similarity.is_nan() { (true, 0.0) } else { (false, -similarity + 0.0) };
            ranked.sort_by(|a, b| rank(a.0).partial_cmp(&rank(b.0)).unwrap().then(a.1.cmp(&b.1)));
            for (at, &(similarity, position)) in ranked.iter().take(k).enumerate() {
                positions[[query, at]] = position;
                similarities[[query, at]] = similarity;
            }
        }
        Neighbours { positions, similarities }
    }

    /// Through bounds along some directions, whatever they rule out.
    fn along(count: usize, bank: &Array2<f32>, queries: &Array2<f32>, k: usize) -> Neighbours {
        let directions = directions::directions(bank.view(), count);
        let longest = Bound::whole(bank.view()).longest();
        let bound = Bound::leading(bank.view(), directions.view(), longest);
        let sample = Sample::new(bank.view(), k);
        neighbours(&Search { bank: bank.view(), bound: &bound, sample: &sample, k }, queries.view())
    }

    /// NaN is NaN here.
    fn assert_same(found: &Neighbours, expected: &Neighbours, what: &str) {
        assert_eq!(found.positions, expected.positions, "{what}");
        let bits =
            |similarities: &Array2<f32>| similarities.mapv(|x| if x.is_nan() { u32::MAX } else { (x + 0.0).to_bits() });
        assert_eq!(bits(&found.similarities), bits(&expected.similarities), "{what}");
    }

    fn check(bank: &Array2<f32>, queries: &Array2<f32>, what: &str) {
        for k in [1, 7, bank.nrows()] {
            let expected = by_sorting(bank, queries, k);
            assert_same(&nearest(bank.view(), queries.view(), k), &expected, what);
            for count in [1, bank.ncols() / 3 + 1, bank.ncols()] {
                assert_same(
                    &along(count, bank, queries, k),
                    &expected,
                    &format!("{what}, {count} directions, k = {k}"),
                );
            }
        }
    }

    /// Rows around a few centres, of falling extent along the coordinates.
    fn clusters(shape: (usize, usize), seed: u64) -> Array2<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let centres = Array2::from_shape_fn((5, shape.1), |(_, j)| random.r#gen_range(-1.0f32..1.0) / (1.0 + j as f32));
        let mut rows = Array2::from_shape_fn(shape, |(i, j)| {
            centres[[i % 5, j]] + random.r#gen_range(-0.4f32..0.4) / (1.0 + j as f32)
        });
        rows.rows_mut().into_iter().for_each(|mut row| row /= row.dot(&row).sqrt());
        rows
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn neighbours_are_those_of_sorting_with_lower_positions_first_among_equals(
            values in proptest::collection::vec(-2i8..=2, 3 * 800),
            size in 1usize..750,
            k in 1usize..260,
        ) {
            let all = Array2::from_shape_vec((800, 3), values.into_iter().map(f32::from).collect()).unwrap();
            let (bank, queries) = all.view().split_at(Axis(0), size);
            let (bank, queries, k) = (bank.to_owned(), queries.to_owned(), k.min(size));
            let expected = by_sorting(&bank, &queries, k);
            prop_assert_eq!(&nearest(bank.view(), queries.view(), k), &expected);
            prop_assert_eq!(&along(2, &bank, &queries, k), &expected);
        }
    }

    #[test]
    fn bounds_leave_out_no_neighbour_of_any_kind_of_rows() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut uniform = |rows: usize, width: usize| {
            Array2::from_shape_simple_fn((rows, width), || random.r#gen_range(-1.0f32..1.0))
        };
        check(&uniform(900, 37), &uniform(20, 37), "uniform");
        check(&uniform(700, 1), &uniform(20, 1), "one feature");
        check(&clusters((1500, 50), 1), &clusters((20, 50), 2), "clusters");
        check(&Array2::from_elem((800, 40), 0.3), &uniform(9, 40), "equal rows");
        check(
            &uniform(3, 40).select(Axis(0), &(0..900).map(|i| i * i % 3).collect::<Vec<_>>()),
            &uniform(9, 40),
            "copies",
        );
        check(&Array2::zeros((600, 40)), &uniform(9, 40), "zeros");
        check(&uniform(600, 40), &Array2::zeros((9, 40)), "queries of zeros");
        // Rests are zero, and bounds are off by rounding alone.
        let plane = uniform(800, 4).dot(&uniform(4, 60));
        check(&plane, &uniform(20, 4).dot(&uniform(4, 60)), "four dimensions of 60");
        check(&plane, &plane.select(Axis(0), &[5, 7, 700]), "queries in the bank");
        let narrow = Array2::from_elem((800, 40), 1.0) + uniform(800, 40) * 1e-6;
        check(&narrow, &(Array2::from_elem((9, 40), 1.0) + uniform(9, 40) * 1e-6), "rows that rounding tells apart");
    }

    #[test]
    fn rows_for_which_f32_is_not_enough_are_compared_one_by_one() {
        let (bank, queries) = (clusters((400, 30), 5), clusters((5, 30), 6));
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e30, 1e-30, 1e-42] {
            let mut odd = bank.clone();
            odd.row_mut(233).mapv_inplace(|x| x * value);
            odd[[50, 3]] = value;
            odd.row_mut(350).fill(value);
            check(&odd, &queries, &format!("{value} in the bank"));
            check(&bank, &odd.slice(ndarray::s![348..352, ..]).to_owned(), &format!("{value} in a query"));
            check(&(&bank * value), &(&queries * value), &format!("times {value}"));
        }
    }

    #[test]
    fn a_guess_that_was_too_high_is_withdrawn() {
        // The rows of the sample are copies of the query, and there are few others like it.
        let mut bank = clusters((3200, 20), 7);
        let query = bank.row(0).to_owned();
        let sample = Sample::new(bank.view(), 3);
        for mut row in bank.rows_mut() {
            if sample.rows.rows().into_iter().any(|sampled| sampled == row) {
                row.assign(&query);
            }
        }
        let queries = query.insert_axis(Axis(0));
        let k = sample.rows.nrows() + 5;
        let sample = Sample::new(bank.view(), 3);
        let bound = Bound::whole(bank.view());
        assert!((sample.guesses(queries.view())[0] - 1.0).abs() < 1e-6);
        let search = Search { bank: bank.view(), bound: &bound, sample: &sample, k };
        assert_same(&neighbours(&search, queries.view()), &by_sorting(&bank, &queries, k), "too high");
    }

    #[test]
    fn directions_are_chosen_where_they_pay() {
        let (bank, queries) = (clusters((4096, 160), 8), clusters((400, 160), 9));
        let sample = Sample::new(bank.view(), 5);
        assert!(choice::directions(bank.view(), queries.view(), &sample).is_some());
        let mut found = nearest(bank.view(), queries.view(), 5);
        found.positions.slice_axis_inplace(Axis(0), (..30).into());
        found.similarities.slice_axis_inplace(Axis(0), (..30).into());
        let some = queries.slice(ndarray::s![..30, ..]).to_owned();
        assert_same(&found, &by_sorting(&bank, &some, 5), "clusters");
        let mut random = ChaCha8Rng::seed_from_u64(10);
        let flat = Array2::from_shape_simple_fn((4096, 160), || random.r#gen_range(-1.0f32..1.0));
        let sample = Sample::new(flat.view(), 5);
        assert!(choice::directions(flat.view(), flat.slice(ndarray::s![..400, ..]), &sample).is_none());
        assert!(choice::directions(bank.view(), queries.slice(ndarray::s![..4, ..]), &sample).is_none(), "few queries");
    }

    #[test]
    fn nothing_is_nearest_where_there_is_no_query_or_no_bank() {
        let (none, some) = (Array2::zeros((0, 3)), Array2::ones((2, 3)));
        assert_eq!(nearest(some.view(), none.view(), 5).positions.dim(), (0, 2));
        assert_eq!(nearest(none.view(), some.view(), 5).positions.dim(), (2, 0));
        assert_eq!(
            nearest(Array2::zeros((3, 0)).view(), Array2::zeros((2, 0)).view(), 2).positions.row(1).to_vec(),
            [0, 1]
        );
    }
}
