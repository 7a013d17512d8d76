// Chat is a registry of rooms: each room is an actor that lives on one node, wherever the ring puts it, and
// does one thing at a time. Who enters from any node finds the same room.
package main

import (
	"slices"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/typed"
)

// room is what is kept of a room, under its name.
type room struct {
	Seats   int       `json:"seats"`
	Members []string  `json:"members"`
	Said    int       `json:"said"`   // lines so far
	Recent  []message `json:"recent"` // the last of them
}

type message struct {
	N          int // counts from 1, without gaps
	From, Text string
}

// What a room does. Callers of other programs need these declarations and no more.
type (
	enter struct{ Name string }
	leave struct{ Name string }
	say   struct{ From, Text string }
	since struct{ N int }
)

var (
	enterRoom = typed.Command[enter, room]{Service: "chat", Name: "enter"}
	leaveRoom = typed.Command[leave, room]{Service: "chat", Name: "leave"}
	sayInRoom = typed.Command[say, message]{Service: "chat", Name: "say"}
	history   = typed.Query[since, []message]{Service: "chat", Name: "history"}
	openRooms = typed.Cover[struct{}, int]{Service: "chat", Name: "rooms"} // how many are in each

	rooms typed.Records[room]
)

const (
	seats = 100 // of a room
	kept  = 50  // lines that are remembered
)

func service() ringcore.Service {
	return ringcore.Service{Name: "chat", N: 1, New: func(ringcore.Partition) ringcore.Vnode {
		return typed.Methods{enterRoom.By(onEnter), leaveRoom.By(onLeave), sayInRoom.By(onSay), history.By(onHistory), openRooms.By(onRooms)}
	}}
}

// onEnter opens the room if need be.
func onEnter(tx *ringcore.Tx, a enter) (room, error) {
	r, ok, err := rooms.Get(tx, tx.Key())
	switch {
	case err != nil:
		return r, err
	case !ok:
		r.Seats = seats
	case slices.Contains(r.Members, a.Name):
		return r, ringcore.Errorf(ringcore.CodeConflict, "somebody called %s is here already", a.Name)
	case len(r.Members) == r.Seats:
		return r, ringcore.Errorf(ringcore.CodeRefused, "the room is full")
	}
	r.Members = append(r.Members, a.Name)
	return r, rooms.Put(tx, tx.Key(), r)
}

// onLeave closes the room after the last one.
func onLeave(tx *ringcore.Tx, a leave) (room, error) {
	r, _, err := rooms.Get(tx, tx.Key())
	if err != nil {
		return r, err
	}
	r.Members = slices.DeleteFunc(r.Members, func(m string) bool { return m == a.Name })
	if len(r.Members) == 0 {
		tx.Delete(tx.Key())
		return r, nil
	}
	return r, rooms.Put(tx, tx.Key(), r)
}

func onSay(tx *ringcore.Tx, a say) (message, error) {
	r, _, err := rooms.Get(tx, tx.Key())
	switch {
	case err != nil:
		return message{}, err
	case !slices.Contains(r.Members, a.From):
		return message{}, ringcore.Errorf(ringcore.CodeRefused, "%s is not in the room", a.From)
	}
	r.Said++
	m := message{N: r.Said, From: a.From, Text: a.Text}
	r.Recent = append(r.Recent, m)
	r.Recent = r.Recent[max(0, len(r.Recent)-kept):]
	return m, rooms.Put(tx, tx.Key(), r)
}

func onHistory(tx *ringcore.Tx, a since) ([]message, error) {
	r, _, err := rooms.Get(tx, tx.Key())
	r.Recent = slices.DeleteFunc(r.Recent, func(m message) bool { return m.N <= a.N })
	return r.Recent, err
}

func onRooms(_ struct{}, _ []byte, rec ringcore.Record) (int, bool, error) {
	r, err := rooms.Parse(rec.Value)
	return len(r.Members), true, err
}
