#!/usr/bin/env bash
# Checks what packages import against the floors of docs/design.md; `make floors` runs it. Lines are
# "importer imported", with the module called ringcore.
set -euo pipefail
cd "$(dirname "$0")/../.."
module=$(go list -m)

lines() { go list -f "{{\$p := .ImportPath}}{{range .$1}}{{\$p}} {{.}}{{\"\\n\"}}{{end}}" ./... | sed "s#$module#ringcore#g"; }
direct=$(lines Imports)
deps=$(lines Deps) # direct ones and theirs
foreign='ringcore[^ ]*|[^ /]+\.[^ ]*' # not the standard library
bad=0

# report RULE: every line of stdin breaks it.
report() {
	while read -r importer imported; do
		echo "floors: $importer must not import $imported: $1" >&2
		bad=1
	done
}
# only IMPORTER ALLOWED RULE: beside the standard library, IMPORTER depends on ALLOWED alone.
only() { report "$3" < <(grep -E "^$1 ($foreign)$" <<<"$deps" | grep -vE " ($2)$"); }
# never IMPORTER IMPORTED RULE: IMPORTER does not depend on IMPORTED.
never() { report "$3" < <(grep -E "^$1 ($2)$" <<<"$deps"); }
# door MODULE IMPORTER RULE: only IMPORTER imports MODULE's packages itself.
door() { report "$3" < <(grep -E " ($1)(/[^ ]*)?$" <<<"$direct" | grep -vE "^($2) "); }

pure='ringcore/(metadata/ring|dataplane/wire|vnodes/kv/codec)'
floor1="$pure|ringcore/admin/problem|ringcore/dataplane/socket"
only "($floor1)" "$floor1" 'floor 1 stands on the standard library alone'
report 'the pure floor does no I/O, starts nothing and draws nothing' < <(
	grep -E "^$pure (os|net|log|sync|syscall|context|math/rand|crypto/rand)(/[^ ]*)?$" <<<"$direct")
only 'ringcore/client' "$floor1" 'the client stands on floor 1'
only 'ringcore/client/(history|load)' 'nothing' 'histories and loads stand on the standard library alone: any test may use them'

never 'ringcore/metadata' 'ringcore|ringcore/(admin|client|cmd|dataplane|vnodes)' 'metadata, dataplane and vnodes do not know each other'
never 'ringcore/dataplane' 'ringcore|ringcore/(admin|client|cmd|metadata|vnodes)' 'metadata, dataplane and vnodes do not know each other'
never 'ringcore/vnodes(/[^ ]*)?' 'ringcore|ringcore/(admin|client|cmd|dataplane|metadata)' 'metadata, dataplane and vnodes do not know each other'
never 'ringcore/vnodes' 'ringcore/vnodes/[^ ]*' 'the toolkit knows none of its services'
never 'ringcore/admin' 'ringcore|ringcore/(client|cmd|dataplane|metadata|vnodes)' 'admin sees a node as an interface'
never 'ringcore' 'ringcore/(client|cmd)[^ ]*' 'a node is no client and no command'

door 'github.com/hashicorp/(raft|raft-boltdb|go-hclog)' 'ringcore/metadata' 'raft has one door, metadata'
door 'github.com/hashicorp/memberlist' 'ringcore/dataplane' 'memberlist has one door, dataplane'
door 'go.etcd.io/bbolt' 'ringcore/vnodes' 'bbolt has one door, vnodes'
door 'github.com/tidwall/[^ /]+' 'ringcore/vnodes[^ ]*' 'btree and redcon have one door, vnodes'
door 'github.com/prometheus/[^ /]+' 'ringcore/(admin|cmd/[^ ]*)' 'Prometheus is for admin and cmd'
door 'github.com/(spf13|BurntSushi)/[^ /]+' 'ringcore/cmd/[^ ]*' 'cobra and toml are for cmd'
door 'testing|pgregory.net/[^ ]+|go.uber.org/goleak|github.com/(redis|google/go-cmp|rogpeppe)/[^ ]+' 'ringcore/(vnodes/vnodetest|ringcoretest)' 'tests are not part of the program'

[ "$bad" = 0 ] && echo "floors: $(wc -l <<<"$direct") imports, all as they should be"
exit "$bad"
