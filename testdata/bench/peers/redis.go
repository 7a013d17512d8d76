package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/ringcore/ringcore/client/load"
)

const (
	redisTitle = "Redis, primary + 2 replicas, WAIT 1, appendfsync always; gets from the primary"
	redisAlone = "Redis alone, appendfsync always"
)

var errMissing = errors.New("a key that was put is not there")

// redisServer starts one that syncs every write before it answers.
func redisServer(ctx context.Context, dir string, port int, args ...string) (*proc, error) {
	up := func(ctx context.Context) bool {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", at(port))
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	return startProc(ctx, dir, up, "redis-server", append([]string{
		"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--logfile", "redis.log",
	}, args...)...)
}

// redisServers starts a primary and some replicas, all of which sync every write, and
// waits until the replicas follow.
func redisServers(ctx context.Context, dir string, replicas int) (procs []*proc, primary string, err error) {
	ports, err := freePorts(1 + replicas)
	if err != nil {
		return nil, "", err
	}
	for i, port := range ports {
		var args []string
		if i > 0 {
			args = []string{"--replicaof", "127.0.0.1 " + strconv.Itoa(ports[0])}
		}
		p, err := redisServer(ctx, filepath.Join(dir, fmt.Sprint("n", i+1)), port, args...)
		if p != nil {
			procs = append(procs, p)
		}
		if err != nil {
			return procs, "", err
		}
	}
	c := redis.NewClient(&redis.Options{Addr: at(ports[0])})
	defer c.Close()
	return procs, at(ports[0]), until(ctx, "redis has its replicas", func(ctx context.Context) bool {
		return strings.Count(c.Info(ctx, "replication").Val(), "state=online") == replicas
	})
}

// startRedisReplicated is a put that is answered when the primary has synced it and one
// replica has it.
func startRedisReplicated(ctx context.Context, dir string) (*cluster, error) {
	procs, primary, err := redisServers(ctx, dir, 2)
	return finish(procs, err, func(c *cluster) error {
		client := redisClient(primary)
		c.close = func() { client.Close() }
		c.operations = putGet(load.Target{Get: redisGet(client), Put: func(ctx context.Context, _ int, key, value []byte) error {
			p := client.Pipeline()
			p.Set(ctx, string(key), value, 0)
			wait := p.Do(ctx, "WAIT", 1, 5000)
			if _, err := p.Exec(ctx); err != nil {
				return err
			}
			if n, err := wait.Int(); err != nil || n < 1 {
				return fmt.Errorf("a put reached %d replicas: %v", n, err)
			}
			return nil
		}})
		return nil
	})
}

func startRedisAlone(ctx context.Context, dir string) (*cluster, error) {
	procs, primary, err := redisServers(ctx, dir, 0)
	return finish(procs, err, func(c *cluster) error {
		client := redisClient(primary)
		c.close = func() { client.Close() }
		c.operations = putGet(load.Target{Get: redisGet(client), Put: func(ctx context.Context, _ int, key, value []byte) error {
			return client.Set(ctx, string(key), value, 0).Err()
		}})
		return nil
	})
}

// redisClient has a connection for each caller.
func redisClient(addr string) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: addr, PoolSize: 512})
}

func redisGet(c *redis.Client) func(context.Context, int, []byte) error {
	return func(ctx context.Context, _ int, key []byte) error {
		_, err := c.Get(ctx, string(key)).Bytes()
		if errors.Is(err, redis.Nil) {
			err = errMissing
		}
		return err
	}
}
