package vnodes

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringcore/ringcore/dataplane/wire"
)

var testID = Identity{ClusterID: "c1", NodeID: "00000000000000ff", Service: "kv", Partition: 12}

const testName = "kv/p0012.bolt"

// eachStorage runs test with every implementation.
func eachStorage(t *testing.T, test func(t *testing.T, open func(testing.TB) Storage)) {
	t.Run("disk", func(t *testing.T) {
		test(t, func(t testing.TB) Storage { return openDisk(t, t.TempDir(), DiskOptions{}) })
	})
	t.Run("memory", func(t *testing.T) { test(t, func(testing.TB) Storage { return MemoryStorage() }) })
}

// openDisk opens the storage in dir until the test ends.
func openDisk(t testing.TB, dir string, opts DiskOptions) *Disk {
	t.Helper()
	opts.Logger = discardLogger()
	d, err := OpenDisk(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func createStore(t testing.TB, s Storage) Store {
	t.Helper()
	st, err := s.Create(testID, testName)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

func openStore(t testing.TB, s Storage) Store {
	t.Helper()
	st, err := s.Open(testID, testName)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// put appends one record and waits until it is durable.
func put(t testing.TB, st Store, key, value string, time uint64) {
	t.Helper()
	if err := appendSync(st, write(key, value, time)); err != nil {
		t.Fatal(err)
	}
}

func write(key, value string, time uint64) Write {
	return Write{Key: []byte(key), Record: Record{Stamp: Stamp{Time: time}, Value: []byte(value)}}
}

func appendSync(st Store, writes ...Write) error {
	done := make(chan error, 1)
	st.Append(writes, func(err error) { done <- err })
	return <-done
}

// collect is every record of st from key on.
func collect(t testing.TB, st Store, from []byte) []Write {
	t.Helper()
	var all []Write
	err := st.Ascend(from, func(key []byte, r Record) bool {
		r.Value = bytes.Clone(r.Value)
		all = append(all, Write{Key: bytes.Clone(key), Record: r})
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// modelStore is what a store must look like.
type modelStore map[string]Record

func (m modelStore) digest() (d Digest, maxTime uint64) {
	for key, r := range m {
		d.sum(recordDigest([]byte(key), &r))
		maxTime = max(maxTime, r.Stamp.Time)
	}
	return d, maxTime
}

// miscounts reports a store whose digest or hash tree is not the model's.
func (m modelStore) miscounts(st Store) error {
	want, _ := m.digest()
	if got := st.Digest(); got != want {
		return fmt.Errorf("digest %+v, not %+v", got, want)
	}
	var leaves Tree
	for key, r := range m {
		leaves.add([]byte(key), recordDigest([]byte(key), &r))
	}
	if got, err := st.Tree(); got != leaves || err != nil {
		return fmt.Errorf("a hash tree that is not that of the records: %v", err)
	}
	return nil
}

// from is the records from key on, in order.
func (m modelStore) from(key []byte) []Write {
	var all []Write
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if k >= string(key) {
			all = append(all, Write{Key: []byte(k), Record: m[k]})
		}
	}
	return all
}

func equalRecords(a, b Record) bool {
	return a.Stamp == b.Stamp && a.Flags == b.Flags && bytes.Equal(a.Value, b.Value)
}

func equalWrites(a, b Write) bool {
	return bytes.Equal(a.Key, b.Key) && equalRecords(a.Record, b.Record)
}

// drawStoreKey draws from few keys, so that they meet; some are longer than what
// bbolt takes, with beginnings in common.
func drawStoreKey(t *rapid.T) []byte {
	key := rapid.StringOfN(rapid.RuneFrom([]rune("ab\x00")), 1, 3, -1).Draw(t, "key")
	long := rapid.SampledFrom([]int{0, 0, 0, 0, keySegment - 2, keySegment - 1, keySegment, 2 * keySegment, 4 * keySegment}).Draw(t, "long")
	return []byte(strings.Repeat("b", long) + key)
}

func TestStoreLikeModel(t *testing.T) {
	eachStorage(t, func(t *testing.T, open func(testing.TB) Storage) {
		storage := open(t)
		run := 0
		rapid.Check(t, func(rt *rapid.T) {
			run++
			name := fmt.Sprintf("kv/p%d.bolt", run)
			st, err := storage.Create(testID, name)
			if err != nil {
				rt.Fatal(err)
			}
			model, maxTime := modelStore{}, uint64(0)
			defer func() { _ = st.Drop() }()
			rt.Repeat(map[string]func(*rapid.T){
				"append": func(rt *rapid.T) {
					writes := make([]Write, rapid.IntRange(1, 4).Draw(rt, "count"))
					for i := range writes {
						writes[i] = Write{Key: drawStoreKey(rt), Record: drawRecord(rt)}
						model[string(writes[i].Key)] = writes[i].Record
						maxTime = max(maxTime, writes[i].Record.Stamp.Time)
					}
					st.Append(writes, func(err error) {
						if err != nil {
							t.Error(err)
						}
					})
				},
				"latest": func(rt *rapid.T) {
					key := drawStoreKey(rt)
					got, ok, err := st.Latest(key)
					want, has := model[string(key)]
					if ok != has || err != nil || !equalRecords(want, got) {
						rt.Fatalf("%s: %+v, %v, %v, not %+v", shortKey(key), got, ok, err, want)
					}
				},
				"get": func(rt *rapid.T) {
					if err := st.Sync(); err != nil {
						rt.Fatal(err)
					}
					key := drawStoreKey(rt)
					got, ok, err := st.Get(key)
					want, has := model[string(key)]
					if ok != has || err != nil || !equalRecords(want, got) {
						rt.Fatalf("%s: %+v, %v, %v, not %+v", shortKey(key), got, ok, err, want)
					}
				},
				"ascend": func(rt *rapid.T) {
					if err := st.Sync(); err != nil {
						rt.Fatal(err)
					}
					from := drawStoreKey(rt)
					want, got := model.from(from), collect(t, st, from)
					if !slices.EqualFunc(want, got, equalWrites) {
						rt.Fatalf("a fold from %s shows %d records, not %d, or others", shortKey(from), len(got), len(want))
					}
				},
				"reopen": func(rt *rapid.T) {
					if err := st.Close(); err != nil {
						rt.Fatal(err)
					}
					if st, err = storage.Open(testID, name); err != nil {
						rt.Fatal(err)
					}
				},
				"": func(rt *rapid.T) {
					if err := model.miscounts(st); err != nil {
						rt.Fatal(err)
					}
					if got := st.MaxTime(); got != maxTime {
						rt.Fatalf("highest time %d, not %d", got, maxTime)
					}
				},
			})
		})
	})
}

func TestStoreCallsDoneInOrder(t *testing.T) {
	eachStorage(t, func(t *testing.T, open func(testing.TB) Storage) {
		st := createStore(t, open(t))
		const n = 1000
		order := make(chan int, n+2)
		for i := range n {
			st.Append([]Write{write(fmt.Sprint(i%7), "v", uint64(i))}, func(err error) {
				if err != nil {
					t.Error(err)
				}
				order <- i
			})
		}
		st.Append([]Write{{Key: nil}}, func(err error) {
			if !errors.Is(err, &wire.Error{Code: wire.BadRequest}) {
				t.Errorf("an empty key: %v", err)
			}
			order <- n
		})
		st.Append([]Write{write("a", "v", 1), {Key: make([]byte, maxKeySize+1)}}, func(err error) {
			if !errors.Is(err, &wire.Error{Code: wire.TooLarge}) {
				t.Errorf("a huge key: %v", err)
			}
			order <- n + 1
		})
		for i := range n + 2 {
			if got := <-order; got != i {
				t.Fatalf("done of %d came as number %d", got, i)
			}
		}
		if _, ok, err := st.Get([]byte("a")); ok || err != nil {
			t.Errorf("half of a refused batch was entered: %v, %v", ok, err)
		}
		if err := appendSync(st, write("x", "after", 1)); err != nil {
			t.Errorf("after a refusal: %v", err)
		}
	})
}

func TestStoreClosed(t *testing.T) {
	eachStorage(t, func(t *testing.T, open func(testing.TB) Storage) {
		storage := open(t)
		st := createStore(t, storage)
		acknowledged := make(chan error, 100)
		for i := range cap(acknowledged) {
			st.Append([]Write{write(fmt.Sprint(i), "v", 1)}, func(err error) { acknowledged <- err })
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		if len(acknowledged) != cap(acknowledged) {
			t.Errorf("Close came before %d of the acknowledgements", cap(acknowledged)-len(acknowledged))
		}
		_, _, getErr := st.Get([]byte("1"))
		for what, err := range map[string]error{
			"append": appendSync(st, write("late", "v", 1)),
			"get":    getErr,
			"ascend": st.Ascend(nil, func([]byte, Record) bool { return true }),
			"sync":   st.Sync(),
			"close":  st.Close(),
			"drop":   st.Drop(),
			"rename": func() error {
				if err := storage.Rename(st, "kv/other.bolt"); !errors.Is(err, ErrClosed) {
					return err
				}
				return ErrClosed
			}(),
		} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if n := len(collect(t, openStore(t, storage), nil)); n != 100 {
			t.Errorf("%d of 100 records", n)
		}
	})
}

// What a store returns may be changed by the caller without harm.
func TestStoreReturnsCopies(t *testing.T) {
	eachStorage(t, func(t *testing.T, open func(testing.TB) Storage) {
		st := createStore(t, open(t))
		put(t, st, "key", "value", 1)
		latest, _, _ := st.Latest([]byte("key"))
		got, _, _ := st.Get([]byte("key"))
		clear(latest.Value)
		clear(got.Value)
		for range 2 {
			err := st.Ascend(nil, func(key []byte, r Record) bool {
				if string(key) != "key" || string(r.Value) != "value" {
					t.Errorf("%q: %q", key, r.Value)
				}
				clear(key)
				clear(r.Value)
				return true
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A fold beside a writer sees every record that was there before exactly once,
// in order, and the writer's in whole batches of one transaction or not at all.
func TestAscendWhileWriting(t *testing.T) {
	eachStorage(t, func(t *testing.T, open func(testing.TB) Storage) {
		st := createStore(t, open(t))
		const stable = 3 * chunkRecords
		writes := make([]Write, stable)
		for i := range writes {
			writes[i] = write(fmt.Sprintf("k%05d", 2*i), "stable", 1)
		}
		if err := appendSync(st, writes...); err != nil {
			t.Fatal(err)
		}
		i := 0
		last, seen := "", 0
		err := st.Ascend(nil, func(key []byte, r Record) bool {
			// The worker goes on while the fold runs, which here is this goroutine.
			st.Append([]Write{write(fmt.Sprintf("k%05d", (i*7919)%(2*stable)|1), "new", 2)}, func(error) {})
			i++
			if string(key) <= last {
				t.Fatalf("%q after %q", key, last)
			}
			last = string(key)
			if string(r.Value) == "stable" {
				seen++
			}
			return true
		})
		if err != nil || seen != stable {
			t.Errorf("%d of %d stable records seen; %v", seen, stable, err)
		}
	})
}

func TestAscendStops(t *testing.T) {
	eachStorage(t, func(t *testing.T, open func(testing.TB) Storage) {
		st := createStore(t, open(t))
		big := strings.Repeat("x", chunkBytes/2)
		for i := range 5 {
			put(t, st, fmt.Sprint(i), big, 1)
		}
		for stop := range 5 {
			calls := 0
			err := st.Ascend(nil, func([]byte, Record) bool { calls++; return calls <= stop })
			if err != nil || calls != stop+1 {
				t.Errorf("%d calls, not %d; %v", calls, stop+1, err)
			}
		}
	})
}

func discardLogger() *slog.Logger { return slog.New(slog.DiscardHandler) }
