// Package typed puts Go types in the place of bytes: the commands, queries and coverage
// queries of a service are declared once, as values, and used on both sides.
//
//	var enter = typed.Command[Enter, Room]{Service: "chat", Name: "enter"}
//
// A vnode implements them with functions or methods of its own, and Methods makes a
// vnode of these:
//
//	New: func(ringcore.Partition) ringcore.Vnode { return typed.Methods{enter.By(onEnter), who.By(onWho)} }
//
// A caller does them, at a node or through a client, and gets a typed reply:
//
//	room, err := enter.Do(ctx, node, "kitchen", Enter{Name: "ann"})
//
// The nouns: a [Command], [Query] or [Cover] is the declaration of a method; a [Method]
// is its implementation; [Methods] are those of one vnode; [Records] are typed values in
// a vnode's records; a [Caller] is a node, or a client behind [Client]; a [Codec] turns
// values into bytes, JSON unless a declaration names another.
//
// A vnode that does more embeds Methods in a type of its own: it may then be a
// ringcore.Merger, have hooks and state, as any vnode. With several replicas a query is
// answered by one of them, which may have missed the newest write, unless the vnode is a
// ringcore.Resolver too; Query.Resolve does most of that.
//
// Names are part of the protocol, and so are the fields of arguments and replies: while
// nodes are upgraded both sides may be of another version. JSON leaves out what it does
// not know; a method that a node does not have answers "not_supported".
//
// The package starts no goroutine and keeps nothing.
package typed
