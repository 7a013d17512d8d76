package typed

import (
	"context"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/client"
)

// Client makes a Caller of a client, for programs that are no nodes.
func Client(c *client.Client) Caller { return clientCaller{c} }

type clientCaller struct{ c *client.Client }

func (a clientCaller) Command(ctx context.Context, service string, call ringcore.Call) ([]byte, error) {
	return a.c.Command(ctx, service, clientCall(&call))
}

func (a clientCaller) Query(ctx context.Context, service string, call ringcore.Call) ([]byte, error) {
	return a.c.Query(ctx, service, clientCall(&call))
}

func clientCall(call *ringcore.Call) client.Call {
	return client.Call{
		Bucket: call.Bucket, Key: call.Key, Body: call.Body, Quorum: call.Quorum, Primary: call.Primary,
		Sloppy: call.Flags&ringcore.Sloppy != 0, Blind: call.Flags&ringcore.Blind != 0,
	}
}

func (a clientCaller) Cover(ctx context.Context, service string, body []byte, o ringcore.CoverOptions, emit func(ringcore.CoverItem) error) (ringcore.CoverResult, error) {
	all, err := a.c.Cover(ctx, service, body, client.CoverOptions{R: o.R}, func(it *client.Item) error {
		return emit(ringcore.CoverItem{Partition: it.Partition, Item: ringcore.Item{Key: it.Key, Value: it.Value}})
	})
	return ringcore.CoverResult{Complete: all.Complete, Missing: all.Missing, Reduced: all.Reduced}, err
}
