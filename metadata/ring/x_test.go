package ring_test
import ("testing";"fmt";"math/rand";"slices";"github.com/ringcore/ringcore/metadata/ring")
func TestXStats(t *testing.T){
 rng:=rand.New(rand.NewSource(1))
 for _,cfg:=range []struct{z,w int}{{1,1},{1,3},{2,1},{3,1},{5,1},{3,3},{5,3}} {
 for _,n:=range []int{1,2,3,5}{
  q:=256
  tm,td,om,od,bad,cnt,obad:=0,0,0,0,0,0,0
  for trial:=0;trial<30;trial++{
   all:=equals(20); for i:=range all {all[i].Weight=1+rng.Intn(cfg.w); all[i].Zone=fmt.Sprint(i%cfg.z)}
   in:=map[int]bool{}; for i:=0;i<8+rng.Intn(4);i++{in[i]=true}
   var cur [][]ring.NodeID
   for s:=0;s<20;s++{
    if s>0 {x:=rng.Intn(20); if in[x]&&len(in)<=8 {continue}; if in[x]{delete(in,x)}else{in[x]=true}}
    var ms []ring.Claimant
    for i:=range all {if in[i]{ms=append(ms,all[i])}}
    tg:=ring.Claim(ms,q,n,cur)
    if s>0{ m,d:=moved(cur,tg,n); tm+=m;td+=d; cnt++; if float64(m-d)>0.02*float64(d)+0.5{bad++}
     m2,d2:=moved(cur,tg,1); om+=m2;od+=d2; if float64(m2-d2)>0.02*float64(d2)+0.5{obad++}}
    cur=tg
   }
  }
  fmt.Println("zones",cfg.z,"w",cfg.w,"n",n,"moves",tm,"def",td,"bad",bad,"of",cnt,"owners",om,od,"bad",obad)
 }}
 _=slices.Max[[]int]
}
