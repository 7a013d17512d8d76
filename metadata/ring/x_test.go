package ring_test
import ("testing";"fmt";"github.com/ringcore/ringcore/metadata/ring")
func BenchmarkX(b *testing.B){
  z,n,q:=1,7,1024
  ms:=equals(100); for i:=range ms {ms[i].Zone=fmt.Sprint(i%z); ms[i].Weight=1+i%5}
  cur:=ring.Claim(ms[30:],q,n,ring.Claim(ms,q,n,ring.Claim(ms[:50],q,n,nil)))
  ms2:=equals(100); for i:=range ms2 {ms2[i].Zone=fmt.Sprint((i*7/3)%(z+1)); ms2[i].Weight=1+(i/3)%4}
  for b.Loop() { ring.Claim(ms2,q,n,cur) }
}
func BenchmarkY(b *testing.B){
 for _,z:=range []int{3,10}{ b.Run(fmt.Sprint(z),func(b *testing.B){
  n,q:=7,1024
  ms:=equals(100); for i:=range ms {ms[i].Zone=fmt.Sprint(i%z); ms[i].Weight=1+i%5}
  for b.Loop() { ring.Claim(ms[:50],q,n,nil) } })
 }
}
