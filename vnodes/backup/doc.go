// Package backup keeps the records of a cluster in a folder, and reads them back.
//
// The nouns: a [Writer] makes a folder, in a temporary place until it is whole; a [Set]
// is a folder that is; its [Manifest] says what it holds; a [Chain] is an incremental one
// with those that it builds on. A part is one partition of a service:
//
//	manifest.json     what it holds, of which cluster, on which other backup it builds
//	SHA256SUMS        of all other files, as sha256sum -c reads them
//	kv/0012.zst       partition 12: blocks (see wire.BlockWriter), compressed with zstd
//	kv/trees.zst      the hash trees of all partitions, also of what earlier backups hold
//
// An incremental backup has of each partition those leaves of its hash tree in which it
// differed from the one before, each whole. So a record is of the newest backup that has
// its leaf, and one that is not there was deleted. A backup holds no tombstones.
//
// The package knows no cluster, and starts no goroutine.
package backup
