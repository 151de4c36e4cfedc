"""Ratings as a user has them in files, as the suite holds them, and as they are compared."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import ndcg_score

from common import baselines
from common.data import Array
from common.errors import UserError
from common.metrics import recommendation
from common.metrics.recommendation import at_targets, ranking_gain, root_mean_square
from common.preprocessing import rating_files, ratings
from common.preprocessing.ratings import COLUMNS, Ratings


@pytest.fixture(scope="module")
def few() -> Ratings:
    """About 20 ratings by each of 200 users, for 50 items."""
    return ratings.collect(ratings.generate(200, 50, 20), {})


def read(path: Path, columns: tuple[str, str, str] | None = None) -> Ratings:
    return rating_files.read(path, columns)[0]


def write(folder: Path, frame: pd.DataFrame, layout: str) -> Path:
    """The ratings of `frame` in a file as MovieLens has them, with a time."""
    path = folder / layout
    columns = (frame[name].tolist() for name in COLUMNS)
    rows = [(str(user), str(item), f"{rating:g}", "978300760") for user, item, rating in zip(*columns, strict=True)]
    separator = {"u.data": "\t", "ratings.dat": "::", "ratings.csv": ","}[layout]
    header = "userId,movieId,rating,timestamp\n" if layout == "ratings.csv" else ""
    path.write_text(header + "".join(separator.join(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("layout", ["u.data", "ratings.dat", "ratings.csv"])
@pytest.mark.parametrize("star", [1.0, 0.5])
def test_every_layout_is_read_alike(layout: str, star: float, tmp_path: Path) -> None:
    frame = ratings.generate(30, 20, 8)
    frame["user"], frame["item"], frame["rating"] = 7 * frame["user"], 1000 - frame["item"], star * frame["rating"]
    found = read(write(tmp_path, frame.sample(frac=1, random_state=0), layout))
    table = frame.pivot_table(index="user", columns="item", values="rating", fill_value=0)
    np.testing.assert_array_equal(found[:], table)
    np.testing.assert_array_equal(found.users, table.index)
    assert found.items == tuple(map(str, table.columns))
    assert found.levels == tuple(star * np.arange(1, 6))
    assert found.digest == ratings.collect(frame, {}).digest


@pytest.mark.parametrize(
    "content", ["userId,movieId,rating\n1,5,4.5\n1,6,2\n", '"userId","movieId","rating"\n"1","5","4.5"\n"1","6","2"\n']
)
def test_a_csv_without_times_is_read(content: str, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(content)
    np.testing.assert_array_equal(read(tmp_path / "mine.csv")[:], [[4.5, 2]])


def test_any_table_with_a_user_an_item_and_a_rating_is_read(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "Book-Rating": [3, 7, 8, np.nan, 7],
            "ISBN": ["0195153448", "000X", "0195153448", "000X", "000X"],
            "User-ID": ["bob", "bob", "ann", "ann", ""],
            "Title": ["Ran", "Heat", "Ran", "Heat", "Heat"],
        }
    )
    frame.to_csv(tmp_path / "books.csv", sep=";")
    found, notes = rating_files.read(tmp_path / "books.csv")
    np.testing.assert_array_equal(found[:], [[0, 8], [7, 3]])
    assert found.users.tolist() == ["ann", "bob"]
    assert found.items == ("000X Heat", "0195153448 Ran")
    assert notes == (
        "books.csv: its cells are separated by semicolons",
        "user, item and rating are the columns User-ID, ISBN, Book-Rating",
        "2 of 5 rows have no User-ID, ISBN or Book-Rating; left out",
    )
    frame.set_axis(["mark", "what", "who", "title"], axis=1).to_parquet(tmp_path / "books.parquet")
    again = read(tmp_path / "books.parquet", ("who", "what", "mark"))
    assert again.digest == found.digest != read(tmp_path / "books.csv", ("User-ID", "Title", "Book-Rating")).digest


@pytest.mark.parametrize(
    ("layout", "name", "content"),
    [
        ("ratings.csv", "movies.csv", 'movieId,title,genres\n1,"Heat, The (1995)",Crime\n2,Ran (1985),War\n'),
        ("ratings.dat", "movies.dat", "1::Heat, The (1995)::Crime\n2::Ran (1985)::War\n"),
        ("u.data", "u.item", "1|Heat, The (1995)|01-Jan-1995\n2|Ran (1985)|01-Jan-1985\n"),
    ],
)
def test_titles_are_taken_from_the_file_beside(layout: str, name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    frame = pd.DataFrame({"user": [1, 1, 1], "item": [1, 2, 3], "rating": [1.0, 2.0, 3.0]})
    assert read(write(tmp_path, frame, layout)).items == ("1 Heat, The (1995)", "2 Ran (1985)", "3")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "the file is empty"),
        ("userId,movieId,rating,timestamp\n", "0 different ratings"),
        ("user;film;stars\n1;2;3\n", "1 different ratings"),
        ("who;film;stars\n1;2;3\n", r"no column has a name for the user \(who, film, stars\); set `columns`"),
        ("user,film,book,stars\n1,2,3,4\n", r"several columns may have the item \(film, book\)"),
        ("user,film,stars\nanna,Ran,3\nbob,Ran,good\n", "line 3: 'good' in the column stars is not a number"),
        ("user,film,stars\nanna,Ran,3\nbob,Ran,0\n", "line 3: stars 0; ratings must be above 0"),
        ("user,film,stars\nanna,Ran,3\nanna,Ran,4\n", "user anna rated item Ran twice"),
        ("1\t2\t3\t4\n1\t3\tgood\t4\n", "line 2: '1.t3.tgood.t4'"),
        ("1\t2\t3\t4\n1\t3\t\t4\n", "line 2"),
        ("1\t2\t3\t4\n1\t3\t0\t4\n", "line 2"),
        ("1\t2\t3\t4\n1\t3\tnan\t4\n", "line 2"),
        ("1\t2\t3\t4\n1\t3\t3.4028235677973366e+38\t4\n", "line 2"),
        ("1\t2\t3\t4\n1\t3\t1e-50\t4\n", "line 2"),
        ("1\t2\t3\t4\n1\n", "line 2"),
        ("userId,movieId,rating\n1,2,3\nanna,3,4\n", "line 3: 'anna,3,4'"),
        ("userId,movieId,rating\n1,2,3\n5000000000,3,4\n", "line 3"),
        ("1::2::3::4\n1::2.5::3::4\n", "line 2"),
        ("1\t2\t3\t4\n1\t2\t5\t4\n", "user 1 rated item 2 twice"),
        ("1\t2\t3\t4\n1\t3\t3\t4\n", "1 different ratings"),
        ("".join(f"1\t{item}\t{item / 7}\t4\n" for item in range(1, 50)), "49 different ratings"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(content)
    with pytest.raises(UserError, match=f"^.*x.*{words}.*$"):
        read(tmp_path / "x")


def test_no_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.csv: no such file"):
        read(tmp_path / "none.csv")


def test_indexed_as_an_array_it_gives_what_the_array_gives(few: Ratings) -> None:
    dense = few.matrix.toarray()
    for index in (3, -1, slice(2, 9), slice(None), np.array([5, 0, 5]), np.int64(4)):
        np.testing.assert_array_equal(few[index], dense[index])
        assert few[index].dtype == few.dtype == np.float32
    assert few.shape == dense.shape
    assert len(few) == len(dense)


def test_a_large_set_stays_sparse() -> None:
    """A million ratings: as an array of single precision they would take 800 MB."""
    many = ratings.collect(ratings.generate(20_000, 10_000, 50), {})
    assert many.size > 900_000
    assert many.nbytes < 9 * many.size
    rest, held = many.hold_out(0.1, 0)
    assert rest.nbytes + held.nbytes < 9 * many.size
    assert many[:3].shape == (3, many.shape[1])


def test_a_share_of_each_users_ratings_is_held_out(few: Ratings) -> None:
    rest, held = few.hold_out(0.2, 3)
    np.testing.assert_array_equal(rest[:] + held[:], few[:])
    assert not ((rest[:] > 0) & (held[:] > 0)).any()
    counts = (few[:] > 0).sum(axis=1)
    np.testing.assert_array_equal((held[:] > 0).sum(axis=1), np.round(0.2 * counts))
    np.testing.assert_array_equal(few.hold_out(0.2, 3)[1][:], held[:])
    assert (few.hold_out(0.2, 4)[1][:] != held[:]).any()


def test_what_is_generated_has_the_structure_that_it_says() -> None:
    frame = ratings.generate(2000, 300, 60)
    assert set(frame["rating"]) == {1, 2, 3, 4, 5}
    assert not frame.duplicated(["user", "item"]).any()
    pd.testing.assert_frame_equal(frame, ratings.generate(2000, 300, 60))
    by_item, by_user = (frame.groupby(name)["rating"] for name in ("item", "user"))
    assert by_item.mean().std() == pytest.approx(0.5, abs=0.1)
    assert by_user.mean().std() == pytest.approx(0.3, abs=0.15)
    # 0.5² + 0.3² + 0.8² + 0.6², and what rounding adds and the scale's ends take
    assert frame["rating"].std() == pytest.approx(1.34**0.5, abs=0.1)


def scored(targets: Ratings, step: float) -> Array:
    """Predictions for the ratings in `targets`, some of them equal."""
    noise = np.random.default_rng(0).normal(0, 1.5, targets.size)
    return np.round((targets.matrix.data + noise) / step) * step


@pytest.mark.parametrize("step", [1e-6, 1.0, 3.0])
def test_ndcg_is_scikit_learns(step: float, few: Ratings) -> None:
    predictions = scored(few, step)
    rows = np.split(np.arange(few.size), few.matrix.indptr[1:-1])
    expected = [ndcg_score([few.matrix.data[row]], [predictions[row]], k=10) for row in rows if len(row) > 1]
    assert any(len(row) > 10 for row in rows)
    assert ranking_gain(few, predictions) == pytest.approx(np.mean(expected), rel=1e-6)


def test_users_without_a_ranking_do_not_count() -> None:
    frame = pd.DataFrame({"user": [1, 1, 2], "item": [1, 2, 1], "rating": [1.0, 5.0, 3.0]})
    targets = ratings.collect(frame, {})
    worst = (1 + 5 / np.log2(3)) / (5 + 1 / np.log2(3))
    assert ranking_gain(targets, np.array([4.0, 2.0, 3.0])) == pytest.approx(worst)
    assert ranking_gain(targets, np.array([2.0, 4.0, 3.0])) == pytest.approx(1)
    assert root_mean_square(targets, np.array([4.0, 2.0, 3.0])) == pytest.approx(6**0.5)


def test_a_user_whose_ratings_are_all_zero_does_not_count_in_the_ranking_gain() -> None:
    frame = pd.DataFrame({"user": [1, 1, 2, 2, 2], "item": [1, 2, 1, 2, 3], "rating": [0.0, 0.0, 0.0, 3.0, 5.0]})
    targets, predictions = ratings.collect(frame, {}), np.array([1.0, 2.0, 2.0, 1.0, 3.0])
    assert targets.size == 5  # the zeros are ratings
    assert ranking_gain(targets, predictions) == pytest.approx(ndcg_score([[0, 3, 5]], [[2, 1, 3]]))
    assert np.isnan(ranking_gain(ratings.collect(frame, {}).part(targets.user_of == 0), predictions[:2]))


def test_what_is_judged_is_the_same_however_many_users_fit_into_memory(
    few: Ratings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest, held = few.hold_out(0.2, 0)
    weights = np.random.default_rng(0).normal(size=(50, 50))
    expected = (rest[:] @ weights)[held[:] > 0]
    sizes = list[int]()

    def predict(rows: Array) -> Array:
        sizes.append(len(rows))
        return rows @ weights

    for at_once in (2**28, 4 * 50 * 7):
        monkeypatch.setattr(recommendation, "AT_ONCE", at_once)
        np.testing.assert_allclose(at_targets(predict, rest, held), expected)
    assert sizes == [200] + [7] * 28 + [4]


def test_means_are_those_of_the_known_ratings(few: Ratings) -> None:
    dense = few[:]
    overall = dense[dense > 0].mean()
    everyone = baselines.GlobalMean().fit(few).predict(dense[:3])
    np.testing.assert_allclose(everyone, np.full((3, 50), overall), rtol=1e-6)
    some = few.part(few.matrix.indices != 4)  # nobody has rated the fifth item
    means = baselines.ItemMean().fit(some).predict(dense[:3])
    np.testing.assert_allclose(means[0], means[2])
    assert means[0, 4] == pytest.approx(some.matrix.data.mean())
    assert means[0, 7] == pytest.approx(dense[:, 7][dense[:, 7] > 0].mean())


def test_a_users_factors_are_those_of_ridge_regression(few: Ratings) -> None:
    items = np.random.default_rng(0).normal(size=(50, 4))
    users = baselines.solve(few.matrix, items, 3.5, 2.0)
    for user in (0, 11):
        rated = few[user] > 0
        features = np.column_stack([np.ones(rated.sum()), items[rated, 1:]])
        ridge = Ridge(2.0, fit_intercept=False).fit(features, few[user][rated] - 3.5 - items[rated, 0])
        np.testing.assert_allclose(users[user], ridge.coef_, rtol=1e-6)


def test_each_sweep_of_the_factorisation_lowers_what_it_minimises(few: Ratings) -> None:
    def objective(factors: baselines.Factors) -> float:
        users = baselines.solve(few.matrix, factors.items, factors.mean, factors.ridge)
        squares = np.square(factors.predict(few[:]) - few[:])[few[:] > 0].sum()
        return float(squares + factors.ridge * (np.square(users).sum() + np.square(factors.items).sum()))

    values = [objective(baselines.factorise(few, 3, 2.0, sweeps)) for sweeps in (1, 2, 4, 8, 16)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.9 * values[0]


def test_the_factorisation_takes_the_settings_of_the_least_validation_error() -> None:
    everything = ratings.collect(ratings.generate(1000, 100, 40), {})
    rest, test = everything.hold_out(0.1, 0)
    known, validation = rest.hold_out(0.1, 1)
    chosen = baselines.MatrixFactorisation((known, validation), (1, 3), (0.1, 5.0, 1000.0)).fit(known)
    assert chosen.factors.ridge == 5.0
    assert chosen.factors.items.shape == (100, 4)

    def error(estimator: baselines.MatrixFactorisation | baselines.ItemMean) -> float:
        return root_mean_square(test, at_targets(estimator.predict, known, test))

    assert error(chosen) < 0.8 * error(baselines.ItemMean().fit(known))
    assert error(chosen) < 0.8  # the noise that was planted leaves 0.6, rounding something more


def test_a_file_without_names_of_columns_and_items_by_title_are_read(tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    file.write_text("7,1,2.5\n7,2,4\n8,1,3\n")
    assert rating_files.read(file)[0].matrix.shape == (2, 2)
    file.write_text("userId,title,rating,timestamp\nu1,Ran,2.5,1\nu1,Heat,4,2\nu2,Ran,3,3\n")
    assert rating_files.read(file)[0].items == ("Heat", "Ran")
